"""The stage ``embed``: tiles through an encoder, many slides a job, and nothing encoded twice.

extract      what the command does: one encoder, slide after slide
tile_job     a slide's tiles, batch by batch; around_job the patches around them; slide_job a slide encoder's features
batches      tiles read and prepared ahead; batch_size how many at once
blocks       what is done of a slide under way; kept finished slides of a job that was not
made_from    what features depend on, and what they must be; features their file; progress what is told
"""
