"""The container images that steps run in, chosen when a pipeline is compiled.

``flywheel compile --image core=… --image trainer=…`` sets these variables; a digest pins the content.
"""

import os

CORE = os.environ.get("FLYWHEEL_IMAGE_CORE", "ghcr.io/llm-flywheel/python-core:0.1.0")
TRAINER = os.environ.get("FLYWHEEL_IMAGE_TRAINER", "ghcr.io/llm-flywheel/python-trainer:0.1.0")
