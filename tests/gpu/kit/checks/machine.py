"""The machine has what the run needs: system, GPU, driver, the libraries of CUDA 13 and cuDNN 9, and ONNX Runtime finds them.

The last is tried without a server, because ONNX Runtime then says itself what it lacks.
"""

from .. import device, libraries
from ..load import raw
from ..pieces import KitError


def check(setting, clock, facts, given):
    """Fills in facts about the machine; sets the search path of the programs. `given` are folders of --libraries."""
    facts |= device.system()
    device.check_system(facts, setting.about)
    if setting.provider == "cuda":
        require_cuda(setting, facts, given)
    # A model with convolutions, so that cuDNN is needed.
    raw(setting, setting.work, "m4", (1,), clock)


def require_cuda(setting, facts, given):
    # All faults of the machine at once, so that it need not be tried again for each.
    faults = []
    try:
        facts |= device.describe(setting.device)
    except KitError as error:
        faults.append(str(error))
    folders = libraries.places(given)
    found = libraries.find(folders, libraries.known_to_loader())
    if absent := libraries.missing(found):
        faults.append(libraries.complaint(absent, folders))
    else:
        faults += libraries.load(found)
    if faults:
        raise KitError("; ".join(faults))
    setting.search_path = libraries.search_path(found)
    facts["libraries"] = {name: str(path) for name, path in found.items() if path is not None}
