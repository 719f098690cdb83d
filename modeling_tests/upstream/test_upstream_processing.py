"""`test_processing_common` of Transformers, on PALO's processor for both kinds of projector."""

import unittest

from transformers import AutoTokenizer

from transformers_palo import PaloImageProcessorPil, PaloProcessor

from ..conftest import GOLDEN
from .common import skip_with_reasons, upstream


processing = upstream("test_processing_common")

REASONS: dict[str, str] = {}


class _PaloProcessorTest(processing.ProcessorTesterMixin):
    processor_class = PaloProcessor
    projector_type: str
    folder: str

    @classmethod
    def _setup_image_processor(cls) -> PaloImageProcessorPil:
        return PaloImageProcessorPil(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})

    @classmethod
    def _setup_tokenizer(cls):
        return AutoTokenizer.from_pretrained(GOLDEN / cls.folder / "checkpoint")

    @classmethod
    def prepare_processor_dict(cls) -> dict:
        return {"patch_size": 14, "projector_type": cls.projector_type}


class PaloMlpProcessorTest(_PaloProcessorTest, unittest.TestCase):
    projector_type = "mlp"
    folder = "public_mlp2x"


class PaloLdpProcessorTest(_PaloProcessorTest, unittest.TestCase):
    projector_type = "ldp"
    folder = "public_ldpnet"


skip_with_reasons(PaloMlpProcessorTest, REASONS)
skip_with_reasons(PaloLdpProcessorTest, REASONS)
