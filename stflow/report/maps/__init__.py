"""Maps of genes on tissue: what lies below the spots, what a panel shows, how a page is laid out, what is printed.

All panels of a row share one colour scale in log1p counts, from 0 to the 99th percentile of what was measured; the
paper scales each panel to 0-1, which hides that predictions are smoother than measurements. The r in a title is
Pearson's over the spots of this slide.

log1p counts cannot be negative. Where a quarter of a method's predictions are, it carries no level (ridge without an
intercept predicts around zero); its map is shifted to the measured mean and its title says so. r does not change.
"""
