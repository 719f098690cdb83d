"""`test_image_processing_common` of Transformers, on PALO's image processor."""

import unittest

import transformers
from packaging.version import Version
from transformers.utils import is_torchvision_available

from transformers_palo.models.palo.image_processing_palo import IMAGE_PROCESSORS

from .common import skip_with_reasons, upstream


image_processing = upstream("test_image_processing_common")

REASONS: dict[str, str] = {}
if not is_torchvision_available():
    REASONS["test_new_models_require_torchvision_backend"] = "torchvision is not installed; PALO has that backend too"
if Version(transformers.__version__) < Version("5.23"):
    REASONS["test_call_numpy_4_channels"] = "this version expects arrays of 4 channels to pass; PALO makes them RGB"
    REASONS["test_pil_can_load_without_torchvision"] = "this version looks for a model of its own by the folder's name"


class PaloImageProcessingTester(image_processing.ImageProcessingTester):
    def __init__(self, parent: unittest.TestCase) -> None:
        super().__init__(
            parent,
            min_resolution=20,
            max_resolution=100,
            size={"shortest_edge": 30},
            crop_size={"height": 30, "width": 30},
        )

    def _get_image_processing_classes(self) -> dict[str, type]:
        # Transformers finds them by the name of the test's folder.
        return dict(IMAGE_PROCESSORS)


class PaloImageProcessingTest(image_processing.ImageProcessingTestMixin, unittest.TestCase):
    image_processor_tester_class = PaloImageProcessingTester


skip_with_reasons(PaloImageProcessingTest, REASONS)
