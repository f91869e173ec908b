"""What nbgrader hands back to students: errors without the lines around them, which may be those of hidden tests."""

from typing import Any

from nbconvert.preprocessors import Preprocessor
from traitlets import Bool


class ShortErrors(Preprocessor):
    """Of every error only its kind and its message, which is what a test has to say.

    nbgrader (0.9.6) can take hidden tests out of the cells that it hands back, but a traceback still quotes them.
    """

    enabled = Bool(True).tag(config=True)  # nbconvert registers what is off

    def preprocess_cell(self, cell: Any, resources: Any, index: int) -> tuple[Any, Any]:
        for output in cell.get("outputs", []):
            if output.get("output_type") == "error":
                output["traceback"] = [f"{output['ename']}: {output['evalue']}"]
        return cell, resources
