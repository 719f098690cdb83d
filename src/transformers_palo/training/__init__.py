# Copyright 2026 The transformers-palo authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""Training PALO with TRL: the trainer, the recipe and the command behind `palo train`.

```python
from transformers_palo.training import PaloSFTConfig, PaloSFTTrainer
```
"""

from .arguments import PaloSFTConfig
from .parameters import language_model_lora
from .trainer import PaloSFTTrainer


__all__ = ["PaloSFTConfig", "PaloSFTTrainer", "language_model_lora"]
