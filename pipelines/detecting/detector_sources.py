"""Where a detector and what it looks at are, also of detections that were made before."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from pipelines.artifacts.calibrations import Calibration
from pipelines.artifacts.detectors import FeatureInfo, read_detector
from pipelines.engine.workspace import Artifact
from sppnet.detection.detector import Detector
from sppnet.errors import ArtifactError, ConfigError


@dataclass(frozen=True)
class DetectorSource:
    """Where a detector and what it looks at are.

    Attributes:
        windows: The windows artifact.
        maps: The maps artifact.
        svms: Its SVMs, of one artifact or several.
        regressors: Its box regressors likewise, or none.
        categories: Those that it detects, in order; None for all that have an SVM.
        renamed: What they are called, by the name that they were trained under.
        calibrations: Those among which its own is, if it has one: of several the first.
    """

    windows: Artifact
    maps: Artifact
    svms: tuple[Artifact, ...]
    regressors: tuple[Artifact, ...] = ()
    categories: tuple[str, ...] | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    calibrations: tuple[Artifact, ...] = ()

    @classmethod
    def of_detections(cls, detections: Artifact, made: Container[str] = ()) -> tuple[DetectorSource, ...]:
        """Return the detectors that detections were made with, from what their artifacts say they were made from.

        Args:
            detections: The detections.
            made: Names of artifacts whose units are made where they are used, see `Artifact`.
        """
        preimage = detections.preimage()
        if preimage.get("stage") == "combine":
            inputs = preimage.get("inputs", {})
            parts, fitted = (
                [Artifact(detections.store, name) for name in inputs.get(kind, ())]
                for kind in ("detections", "calibrations")
            )
            return tuple(source.calibrated(fitted) for part in parts for source in cls.of_detections(part, made))
        found = [detections.inputs(field) for field in ("windows", "maps", "svms", "regressors")]
        if not all(found[:3]):
            raise ArtifactError(f"{detections.store.uri}/{detections.name} does not tell what it was made from")
        windows, maps, svms, regressors = (
            tuple(Artifact(detections.store, name, stored=name not in made) for name in names) for names in found
        )
        config = preimage.get("config", {})
        chosen, renamed = config.get("categories"), dict(config.get("renamed", {}))
        return (cls(windows[0], maps[0], svms, regressors, None if chosen is None else tuple(chosen), renamed),)

    def calibrated(self, calibrations: Iterable[Artifact]) -> DetectorSource:
        """Return it with calibrations that count before those that it has."""
        return replace(self, calibrations=(*calibrations, *self.calibrations))

    @cached_property
    def calibration(self) -> Calibration | None:
        """What its scores mean; None where none of the calibrations was fitted to it.

        Raises:
            ConfigError: The one that was is of other categories.
        """
        for artifact in self.calibrations:
            found = Calibration.read(artifact)
            if found.detector == self.parts:
                missing = sorted(set(self.info.categories) - set(found.categories))
                if missing:
                    raise ConfigError(
                        f"{artifact.name} was fitted to other categories of the detector than are combined: "
                        f"not to {', '.join(missing)}"
                    )
                return found
        return None

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the artifacts that its detections follow from, whatever images it is shown."""
        return tuple(one.name for one in (*self.svms, *self.regressors))

    @property
    def trained(self) -> tuple[Artifact, ...]:
        """What was trained for it: SVMs, regressors, and the head if it has one."""
        heads = () if self.info.head is None else (Artifact(self.svms[0].store, self.info.head),)
        return (*self.svms, *self.regressors, *heads)

    @cached_property
    def info(self) -> FeatureInfo:
        """What the SVMs look at."""
        return FeatureInfo.joined(self.svms, self.categories, self.renamed)

    @cached_property
    def detector(self) -> Detector:
        """The detector, read once; `ConfigError` if the maps are of another backbone than it was trained on."""
        return read_detector(self.svms, self.regressors, self.maps, self.categories, self.renamed)

    @cached_property
    def scales(self) -> tuple[int, ...]:
        """All scales whose maps the detector reads."""
        more = FeatureInfo.joined(self.regressors).scales if self.regressors else ()
        return tuple(sorted({*self.info.scales, *more}))

    @property
    def features_name(self) -> tuple[object, ...]:
        """Equal for detectors whose windows have the same features."""
        info = self.info
        return (
            self.windows.name,
            self.maps.name,
            info.layer,
            info.scales,
            info.convention,
            info.levels,
            info.head,
            info.precision,
            info.rank,
        )
