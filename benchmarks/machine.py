"""What a measurement was taken with, for the results files."""

import platform

import torch
import transformers


def device_and_versions(device: torch.device) -> dict[str, str]:
    """The device's name, and the versions that matter."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = f"CPU, {torch.get_num_threads()} threads, {platform.machine()}"
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    return {"device": name, "versions": versions}
