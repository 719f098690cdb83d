"""`test_pipeline_mixin` of Transformers, on a tiny PALO of either kind in place of one from the Hub."""

import json
import os
import tempfile
import unittest
import unittest.mock
from pathlib import Path

import transformers
from transformers import ImageTextToTextPipeline
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

from transformers_palo import PaloForConditionalGeneration, PaloProcessor

from ..conftest import GOLDEN, golden_image
from .common import upstream


# The mixin reads at import which tiny models there are, and looks classes up by name.
TINY_MODELS = tempfile.TemporaryDirectory()
SUMMARY = {"PaloForConditionalGeneration": {"tokenizer_classes": ["PreTrainedTokenizerFast"], "processor_classes": []}}
(Path(TINY_MODELS.name) / "reports").mkdir()
(Path(TINY_MODELS.name) / "reports" / "tiny_model_summary.json").write_text(json.dumps(SUMMARY))
os.environ["TRANSFORMERS_TINY_MODEL_PATH"] = TINY_MODELS.name

pipeline_mixin = upstream("test_pipeline_mixin")
pipeline_mixin.pipeline_test_mapping["image-text-to-text"]["test"] = f"{__name__}.ImageTextToText"


class ImageTextToText:
    """What the mixin asks of a task. Transformers' own is not in its source distribution."""

    def get_test_pipeline(self, model, tokenizer, image_processor=None, processor=None, dtype="float32"):
        pipe = ImageTextToTextPipeline(model=model, processor=processor, dtype=dtype, max_new_tokens=5)
        examples = [
            {"images": golden_image("landscape"), "text": "USER: <image>\nWhat is it? ASSISTANT:"},
            {"images": golden_image("portrait"), "text": "<image> and, longer, what else is to be seen on it?"},
        ]
        return pipe, examples

    def run_pipeline_test(self, pipe, examples) -> None:
        for example in examples:
            (output,) = pipe(example["images"], text=example["text"])
            assert output["input_text"] == example["text"]
            assert output["generated_text"].startswith(example["text"])


class _PaloPipelineTest(pipeline_mixin.PipelineTesterMixin):
    pipeline_model_mapping = {"image-text-to-text": PaloForConditionalGeneration}
    folder: str

    def setUp(self) -> None:
        target = Path(TINY_MODELS.name) / "palo" / "PaloForConditionalGeneration"
        source = GOLDEN / self.folder / "checkpoint"
        PaloForConditionalGeneration.from_pretrained(source).save_pretrained(target)
        PaloProcessor.from_pretrained(source).save_pretrained(target)
        patches = (
            unittest.mock.patch.dict(PROCESSOR_MAPPING_NAMES, {"palo": "PaloProcessor"}),
            unittest.mock.patch.object(transformers, "PaloProcessor", PaloProcessor, create=True),
            unittest.mock.patch.object(pipeline_mixin, "transformers_module", transformers),
        )
        for patch in patches:
            patch.start()
            self.addCleanup(patch.stop)


class PaloMlpPipelineTest(_PaloPipelineTest, unittest.TestCase):
    folder = "public_mlp2x"


class PaloLdpPipelineTest(_PaloPipelineTest, unittest.TestCase):
    folder = "public_ldpnet"


# The mixin has a test for every task there is.
for name in [name for name in dir(_PaloPipelineTest) if name.startswith("test_pipeline_")]:
    if "image_text_to_text" not in name:
        setattr(_PaloPipelineTest, name, None)
