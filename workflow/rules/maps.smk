# Maps of several genes and methods (figures 4, 6, 7), and efficiency (figure 5, table 6).
