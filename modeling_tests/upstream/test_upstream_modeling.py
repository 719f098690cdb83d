"""`test_modeling_common` and `test_configuration_common` of Transformers, on PALO with both kinds of projector."""

import unittest

import torch

from transformers_palo import PaloConfig, PaloForConditionalGeneration, PaloModel

from .common import skip_with_reasons, upstream


modeling = upstream("test_modeling_common")
configuration = upstream("test_configuration_common")


class PaloModelTester:
    """Small configurations and inputs, in the shape that the common tests ask for."""

    def __init__(self, parent: unittest.TestCase, projector_type: str) -> None:
        self.parent = parent
        self.projector_type = projector_type
        self.batch_size = 2
        self.seq_length = 7 + self.image_tokens
        self.hidden_size = 32
        self.num_hidden_layers = 2
        self.num_attention_heads = 4
        self.is_training = True
        self.image_size = 16

    @property
    def image_tokens(self) -> int:
        return {"mlp": 16, "ldp": 4}[self.projector_type]

    def get_config(self) -> PaloConfig:
        return PaloConfig(
            vision_config={
                "model_type": "clip_vision_model",
                "hidden_size": 32,
                "intermediate_size": 37,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "image_size": self.image_size,
                "patch_size": 4,
            },
            text_config={
                "model_type": "llama",
                "hidden_size": self.hidden_size,
                "intermediate_size": 37,
                "num_hidden_layers": self.num_hidden_layers,
                "num_attention_heads": self.num_attention_heads,
                "num_key_value_heads": 2,
                "vocab_size": 99,
                "max_position_embeddings": 128,
                "pad_token_id": 1,
                "bos_token_id": 2,
                "eos_token_id": 3,
            },
            image_token_index=4,
            projector_type=self.projector_type,
        )

    def prepare_config_and_inputs_for_common(self):
        config = self.get_config()
        input_ids = torch.randint(5, 98, (self.batch_size, self.seq_length))
        input_ids[:, : self.image_tokens] = config.image_token_id
        inputs = {
            "input_ids": input_ids,
            "pixel_values": torch.randn(self.batch_size, 3, self.image_size, self.image_size),
            "attention_mask": torch.ones_like(input_ids),
        }
        return config, inputs


# What a test asks that PALO does not do, and why. Transformers' own models leave the same out where it says so.
REASONS = {
    "test_reverse_loading_mapping": (
        "several released names map to one native name, so the map has no reverse; PALO saves native names only"
    ),
    "test_can_init_all_missing_weights": (
        "CLIP's own initialisation does not pass it (Transformers skips it for models from before 2023); the projectors "
        "are checked in test_modeling_palo.py"
    ),
    "test_generation_tester_mixin_inheritance": (
        "Transformers' generation tests are not in its source distribution; ours are in test_generation_palo.py"
    ),
}


class _PaloModelTest(modeling.ModelTesterMixin):
    all_model_classes = (PaloModel, PaloForConditionalGeneration)
    projector_type: str
    _is_composite = True
    # hidden_states[-2] is read: the tower's last layer and final norm get no gradient.
    test_all_params_have_gradient = False

    def setUp(self) -> None:
        self.model_tester = PaloModelTester(self, self.projector_type)
        self.config_tester = configuration.ConfigTester(
            self, config_class=PaloConfig, has_text_modality=False, projector_type=self.projector_type
        )
        if "training" in self.id():
            # Transformers leaves headless models out by a list of its own models' names.
            self.all_model_classes = (PaloForConditionalGeneration,)

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
        inputs = super()._prepare_for_class(inputs_dict, model_class, return_labels)
        if return_labels and model_class is PaloForConditionalGeneration:
            inputs["labels"] = inputs["input_ids"].clone()
        return inputs

    def test_config(self) -> None:
        self.config_tester.run_common_tests()


class PaloMlpModelTest(_PaloModelTest, unittest.TestCase):
    projector_type = "mlp"


class PaloLdpModelTest(_PaloModelTest, unittest.TestCase):
    projector_type = "ldp"


skip_with_reasons(PaloMlpModelTest, REASONS)
skip_with_reasons(PaloLdpModelTest, REASONS)
