"""Where CUDA cannot be used, the server must refuse the model: it must not run it on the CPU in silence.

CUDA is made unusable by hiding every GPU from the server. On a machine without one that changes nothing.
"""

from ..pieces import KitError
from ..server import Refused, Server, copy_model, fresh_folder

REASON = "execution provider 'cuda' is not available"


def check(setting, clock, figures):
    models = fresh_folder(setting.work, "refusal")
    copy_model(setting.kit, "m3", models / "m3")
    hidden = {"CUDA_VISIBLE_DEVICES": "-1"}
    with Server(setting, clock, models, defaults=['providers = ["cuda"]', "lanes = 1"], env=hidden) as server:
        reason = server.reasons().get("m3", "")
        figures |= {"start_line": server.start_line, "reason": reason}
        if server.start_line.startswith("ready: ") or REASON not in reason:
            raise KitError(
                "the server does not refuse a model whose provider cannot be used: "
                f"it printed {server.start_line!r}, and the reason is {reason!r}"
            )
        refuse_a_request(server)


def refuse_a_request(server):
    try:
        server.infer("m3", b'{"inputs":[]}')
    except Refused:
        return
    raise KitError("the server answered a request for a model that it refused")
