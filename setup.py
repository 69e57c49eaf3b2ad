"""The one build step that pyproject.toml cannot express: the wheel's copy of the model card's template."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

TEMPLATE = "model_card.md"


class BuildWithModelCard(build_py):
    """Copies the template, which lives at the top of the project, beside the code that fills it."""

    def run(self) -> None:
        """Build the packages, then add the template; an editable install reads the original."""
        super().run()
        if not self.editable_mode:
            self.copy_file(TEMPLATE, self._installed_template())

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """List the files of the built packages, the template among them."""
        outputs = super().get_outputs(include_bytecode)
        return outputs if self.editable_mode else [*outputs, self._installed_template()]

    def _installed_template(self) -> str:
        return str(Path(self.build_lib, "speech_emotion", "training", TEMPLATE))


setup(cmdclass={"build_py": BuildWithModelCard})
