# Predictions as files that other programs open, and the report's pages of runs and provenance.
