"""The command `facet-train`: one command per step, each of which may be run again."""

from __future__ import annotations

from service.errors import FacetError
from service.runtime.lazy_commands import LazyCommands, Place, lazy_app
from training.errors import TrainingError

COMMANDS = {
    "distil": Place(
        "training.commands.distil:distil_photos",
        "Distil a teacher into a small student on your photographs; publish it, calibrated, beside its teacher.",
    ),
    "prepare": Place("training.commands.data:prepare_set", "Cut canonical crops from pictures, as the service does."),
    "ensemble": Place("training.commands.ensemble:ensemble", "Join several embedders into one model."),
    "targets": Place("training.commands.data:targets", "Run a recipe's teachers over its sets once."),
    "neurons": Place("training.commands.data:neurons", "Choose the neurons of a recipe's teachers."),
    "fit": Place("training.commands.runs:fit_recipe", "Train a recipe, or go on where an earlier call stopped."),
    "confidence": Place(
        "training.commands.runs:confidence", "Teach a student how near its embedding is to its teacher's."
    ),
    "keep": Place("training.commands.runs:keep_weights", "Keep a run's weights, for recipes anywhere to begin from."),
    "pace": Place("training.commands.runs:pace", "Time the steps of a recipe beside the bare network's passes."),
    "evaluate": Place("training.commands.measure:evaluate", "Measure models under published protocols."),
    "students": Place("training.commands.measure:students", "Put students beside their teachers: one table."),
    "ablations": Place(
        "training.commands.ablations:ablations", "Change one lever of a recipe at a time, under one short budget."
    ),
    "cohort": Place("training.commands.promise:cohort", "Keep a model's rates for every kind of face."),
    "calibrate": Place("training.commands.measure:calibrate_model", "Find the thresholds of a model."),
    "promise": Place("training.commands.promise:promise", "Compare the rates that models promise with those observed."),
    "discard": Place("training.commands.promise:discard", "Tell what a cut of recognisability is worth, and costs."),
    "expect": Place("training.commands.promise:expectation", "Tell what several photographs and larger galleries do."),
    "cost": Place("training.commands.measure:cost", "Time one face on one thread, beside an iresnet100."),
    "export": Place("training.commands.release:export_run", "Write a run's student as ONNX in several forms."),
    "rounding": Place("training.commands.release:rounding", "Tell what 8-bit arithmetic takes from a run's student."),
    "publish": Place("training.commands.release:publish_run", "Publish an exported graph with its manifest and card."),
    "starter": Place("training.commands.release:starter", "Make the bundled models again. Hours; goes on."),
    "device-pack": Place("training.commands.device:device_pack", "Pack a recipe to be trained on another device."),
    "device-accept": Place("training.commands.device:device_accept", "Make what came back from a device a run."),
    "papers": Place("training.commands.papers:papers", "Run every method of the papers beside its control."),
    "papers-row": Place("training.commands.papers:papers_row", "Train and measure one row of the papers."),
    "papers-keep": Place("training.commands.papers:papers_keep", "Bring finished rows into the repository."),
    "papers-table": Place("training.commands.papers:papers_table", "Write the papers' page and plot again."),
    "detector-tiles": Place(
        "training.tasks.detection.commands:compose_tiles", "Compose the tiles that a detector learns from."
    ),
    "detector-evaluate": Place(
        "training.tasks.detection.commands:evaluate_detector", "Compare a detector with its teacher."
    ),
    "detector-quantise": Place(
        "training.commands.measure:quantise_detector", "Write a detector with 8-bit arithmetic and time it."
    ),
    "detector-close-ups": Place(
        "training.tasks.detection.commands:evaluate_close_ups", "Count the faces missed where they fill their pictures."
    ),
    "detector-search": Place(
        "training.tasks.detection.commands:evaluate_search", "Measure the search for faces that is served."
    ),
}


class Commands(LazyCommands):
    """The commands of `facet-train`."""

    program = "facet-train"
    expected = (TrainingError, FacetError)
    table = COMMANDS

    def describe(self, error: Exception) -> str:
        """Return the line that an expected error ends with: its code, and what to do."""
        return f"{getattr(error, 'code', self.program)}: {error}"

    def describe_missing(self, package: str) -> str:
        """Return the line that ends a command whose package is not installed."""
        return f"facet-train: this needs {package}; in the checkout: pip install -e '.[train]'"


app = lazy_app(Commands, "Make the models that the service runs, one step at a time.", add_completion=False)


if __name__ == "__main__":
    app()
