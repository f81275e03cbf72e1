"""Flow matching towards the data: the prior it starts from, the path it follows, the sampler that walks it."""
