"""Which recipes the comparison runs, in the order in which they need each other, and what the papers claim of them."""

from __future__ import annotations

from dataclasses import dataclass

TEACHER = "teacher"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `recipe` is a file of `training/recipes/papers`; `control` the recipe of its control."""

    recipe: str
    system: str
    what: str
    control: str | None = None


VERIFICATION = ("lfw accuracy", "celeba tar 0.01")
ALIGNMENT = ("nme",)
FIXED = ("lfw fmr",)
IDENTIFICATION = ("celeba rank-1", "celeba dir 0.1")


@dataclass(frozen=True, slots=True)
class Claim:
    """A paper's claim, as a comparison of two rows: `row` is better than `against` by `measures`."""

    row: str
    against: str
    says: str
    measures: tuple[str, ...] = VERIFICATION


KARLEKAR = "Karlekar et al. 2019"
MOBILEID = "MobileID, Luo et al. 2016"
WANG = "Wang et al. 2017"
DARMSTADT = "TU Darmstadt 2020"
SHRINK = "ShrinkTeaNet 2019"
LATER = "AdaDistill 2024, grouped KD 2023"

ROWS: tuple[Row, ...] = (
    Row(TEACHER, "Teacher", "the teacher, at 64 pixels"),
    Row("karlekar-control", KARLEKAR, "alone, at 1/2"),
    Row("karlekar-kt", KARLEKAR, "KT, at 1/2", "karlekar-control"),
    Row("karlekar-kd", KARLEKAR, "KD, at 1/2", "karlekar-control"),
    Row("karlekar-kt-kd", KARLEKAR, "KT and KD, at 1/2", "karlekar-control"),
    Row("karlekar-control-quarter", KARLEKAR, "alone, at 1/4"),
    Row("karlekar-kt-quarter", KARLEKAR, "KT, at 1/4", "karlekar-control-quarter"),
    Row("karlekar-kd-quarter", KARLEKAR, "KD, at 1/4", "karlekar-control-quarter"),
    Row("karlekar-kt-kd-quarter", KARLEKAR, "KT and KD, at 1/4", "karlekar-control-quarter"),
    Row("mobileid-control", MOBILEID, "labels alone"),
    Row("mobileid-single", MOBILEID, "128 selected neurons of one teacher", "mobileid-control"),
    Row("mobileid-all", MOBILEID, "all 384 neurons of the ensemble", "mobileid-control"),
    Row("mobileid", MOBILEID, "192 selected neurons of the ensemble", "mobileid-control"),
    Row("mobileid-dlib", MOBILEID, "192 selected neurons of the teacher and dlib's ResNet", "mobileid-control"),
    Row("wang-alone", WANG, "classification alone: the common initialisation"),
    Row("wang-continued", WANG, "alone, from the common initialisation"),
    Row("wang-distil-random", WANG, "distilled, from random weights", "wang-alone"),
    Row("wang-distil", WANG, "distilled, from the common initialisation", "wang-continued"),
    Row("wang-verify-alone", WANG, "verification: triplets alone, from random weights"),
    Row("wang-verify-random", WANG, "verification: with the target", "wang-verify-alone"),
    Row("wang-verify-untaught", WANG, "verification: with the initialisation", "wang-verify-alone"),
    Row("wang-verify", WANG, "verification: with both", "wang-verify-alone"),
    Row("wang-align-alone", WANG, "alignment: landmarks alone, from random weights"),
    Row("wang-align-random", WANG, "alignment: with the target", "wang-align-alone"),
    Row("wang-align-untaught", WANG, "alignment: with the initialisation", "wang-align-alone"),
    Row("wang-align", WANG, "alignment: with both", "wang-align-alone"),
    Row("darmstadt-alone", DARMSTADT, "ResNet-56, ArcFace alone"),
    Row("darmstadt-logits", DARMSTADT, "ResNet-56, with logits", "darmstadt-alone"),
    Row("darmstadt-features", DARMSTADT, "ResNet-56, with features", "darmstadt-alone"),
    Row("mobileface-control", SHRINK, "MobileFaceNet at half width, ArcFace alone"),
    Row("shrinkteanet-final", SHRINK, "angle of the embedding", "mobileface-control"),
    Row("shrinkteanet-l2", SHRINK, "squared distance, embedding and stages", "mobileface-control"),
    Row("shrinkteanet", SHRINK, "angle, embedding and stages", "mobileface-control"),
    Row("adadistill", LATER, "AdaDistill", "mobileface-control"),
    Row("grouped-kd", LATER, "grouped KD", "mobileface-control"),
)

CLAIMS: tuple[Claim, ...] = (
    Claim("karlekar-kt", "karlekar-control", "knowledge transfer beats the same low-resolution net trained plainly"),
    Claim("karlekar-kd", "karlekar-control", "distillation from the high resolution beats plain training"),
    Claim("karlekar-kt-kd", "karlekar-control", "both together beat plain training"),
    Claim("karlekar-kt-kd", "karlekar-kt", "distillation adds to transfer (the paper: all three help about equally)"),
    Claim("karlekar-kt-quarter", "karlekar-control-quarter", "transfer helps at lower resolutions, too"),
    Claim("karlekar-kd-quarter", "karlekar-control-quarter", "distillation helps at lower resolutions, too"),
    Claim("karlekar-kt-kd-quarter", "karlekar-kt-quarter", "distillation adds to transfer at lower resolutions"),
    Claim("mobileid", "mobileid-control", "selected neurons of an ensemble teach better than labels"),
    Claim("mobileid", "mobileid-all", "selected neurons teach better than all neurons"),
    Claim("mobileid", "mobileid-single", "the neurons of an ensemble teach better than those of one network"),
    Claim("mobileid-dlib", "mobileid-control", "so do those of the teacher and dlib's network"),
    Claim("wang-distil", "wang-continued", "distilled classification beats the student alone"),
    Claim("wang-distil", "wang-distil-random", "the common initialisation helps distillation"),
    Claim("wang-verify", "wang-verify-random", "the transferred initialisation helps verification"),
    Claim("wang-verify", "wang-verify-untaught", "the transferred target helps verification"),
    Claim("wang-verify", "wang-verify-alone", "both together help verification"),
    Claim("wang-align", "wang-align-random", "the transferred initialisation helps alignment", ALIGNMENT),
    Claim("wang-align", "wang-align-untaught", "the transferred target helps alignment", ALIGNMENT),
    Claim("wang-align", "wang-align-alone", "both together help alignment", ALIGNMENT),
    Claim("darmstadt-logits", "darmstadt-alone", "logit distillation beats ArcFace alone"),
    Claim("darmstadt-features", "darmstadt-alone", "feature distillation beats ArcFace alone"),
    Claim("darmstadt-features", "darmstadt-logits", "feature distillation beats logit distillation"),
    Claim("darmstadt-logits", "darmstadt-alone", "logit distillation lowers the FMR at a fixed threshold", FIXED),
    Claim("darmstadt-features", "darmstadt-alone", "feature distillation lowers the FMR at a fixed threshold", FIXED),
    Claim("shrinkteanet", "mobileface-control", "angular distillation beats the student alone"),
    Claim("shrinkteanet", "shrinkteanet-l2", "the angle beats the squared distance"),
    Claim("shrinkteanet", "shrinkteanet-final", "the intermediate terms add to the final one"),
    Claim("shrinkteanet", "mobileface-control", "the angle finds more people among distractors", IDENTIFICATION),
    Claim("shrinkteanet", "shrinkteanet-l2", "it finds more than the squared distance does", IDENTIFICATION),
    Claim("adadistill", "mobileface-control", "adaptive centres beat the student alone"),
    Claim("grouped-kd", "mobileface-control", "grouped KD beats the student alone"),
)
