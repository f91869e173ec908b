"""Parts of the published networks that ours have in another form, off the teaching path.

Fields of `LFAEConfig`, `UNet3DConfig` and `DiffusionConfig` put them in place; `lfdm_lite.official` sets those fields.
"""
