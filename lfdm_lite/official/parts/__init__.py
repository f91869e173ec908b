"""Parts of the published networks that ours have in another form, off the teaching path.

`published` lists them as fields of the configs; each network, once built, exchanges the parts that its config names.
`lfdm_lite.official` sets those fields.
"""
