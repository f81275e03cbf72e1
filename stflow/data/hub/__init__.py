"""From Hugging Face, and releases on GitHub, to files: what is where, which bytes they are, and how they get here.

manifest   resources/hub.json: every repository, its revision, files, licence and gate
request    the files that one configuration needs
lock       the commit and the hash of each of them, asked once and kept beside the data
client     questions to the hub, asked again where that helps, and its refusals in words
release    assets of a GitHub release, by the same lock
download   one file, whole and with the hash of the lock, or not at all
"""
