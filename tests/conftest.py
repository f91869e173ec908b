"""Every call in the tests checks the shapes that the library's annotations promise."""

from jaxtyping import install_import_hook

install_import_hook("lfdm_lite", "beartype.beartype")
