"""From predictions to scores: metrics a gene, the long metrics file, and the paper's averages of it."""
