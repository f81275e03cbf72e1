"""The paper's tables of scores: its layout, its printed numbers beside ours, and a verdict a cell."""
