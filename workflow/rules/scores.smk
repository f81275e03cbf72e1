# Scores past pooled Pearson, of every method.
