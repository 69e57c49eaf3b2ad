"""Models on the Hub: whether it can be asked for one at all, found out before its client tries for half a minute."""

import time
from functools import cache
from pathlib import Path

from .fetched_weights import FETCHED
from .shipped_model import EMOTIONS

PAUSE = 1.0  # s, after which a name that was not resolved may be


@cache
def check_hub(model: str) -> None:
    """Refuse the id of a model that is not in the cache if the Hub cannot be reached.

    A slow answer is no reason: what follows waits for it.
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.utils import get_session, httpx  # whichever version of it its sessions are made of

    if Path(model).is_dir() or model.startswith((".", "/", "~")):
        return
    if Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=model, repo_type="model"), "snapshots").is_dir():
        return
    why: object = "HF_HUB_OFFLINE is set"
    for pause in () if constants.is_offline_mode() else (PAUSE, 0.0):
        try:
            get_session().head(constants.ENDPOINT, timeout=constants.HF_HUB_ETAG_TIMEOUT)
            return
        except httpx.ConnectError as error:
            why = error
            time.sleep(pause)
        except httpx.ConnectTimeout as error:
            why = error
            break
        except httpx.HTTPError:
            return
    raise ConnectionError(
        f"There is no folder {model}, and the Hub cannot be reached for a model of that id ({why}). What needs no "
        f"Hub: folders of saved models, ids that were fetched before, the model {EMOTIONS} and, as encoders, "
        f"deepspeech-small and what the package index has, {', '.join(FETCHED)}."
    )
