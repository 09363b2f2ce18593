"""The container images that steps run in unless a profile names others (``flywheel compile --set core_image=…``)."""

CORE = "ghcr.io/llm-flywheel/python-core:0.1.0"
TRAINER = "ghcr.io/llm-flywheel/python-trainer:0.1.0"
