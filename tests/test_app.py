"""The page of app.py: its functions, without a browser, and what a Space of it has to install."""

import json
import os
import re
import shutil
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile

pytest.importorskip("gradio", reason="Gradio is not installed: pip install 'modeling-ser[app]'")
import app
from modeling_ser import SERPipeline
from speech_emotion.inference import timeline_of
from tests.hub.local_hub import LocalHub
from tests.modeling_ser.small_pipeline import LABELS, by_label, small_classifier, write_clips
from tests.modeling_ser.test_windows import LONG
from tests.subprocess_tools import PROJECT_ROOT, offline_environment, run_command, run_python_json

SVG = "{http://www.w3.org/2000/svg}svg"


@pytest.fixture(scope="module")
def chosen(classifier: SERPipeline) -> app.Chosen:
    return app.Chosen(classifier, "small")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_clips(tmp_path_factory.mktemp("clips"))


def read(page: str) -> ElementTree.Element:
    """Read a part of the page, which is well-formed."""
    return ElementTree.fromstring(f"<div>{page}</div>")


def rows(page: str) -> list[list[str]]:
    """Return the words of each row of a table's body."""
    return [["".join(cell.itertext()).strip() for cell in row] for row in read(page).findall(".//tbody/tr")]


def alerts(page: str) -> list[str]:
    return ["".join(one.itertext()) for one in read(page).findall(".//*[@role='alert']")]


def test_the_page_has_the_pipelines_scores_as_a_table_and_as_bars(chosen: app.Chosen, clips: list[Path]) -> None:
    first, last = app.score(str(clips[0]), False, chosen)
    expected = chosen.classifier(clips[0])
    assert [row[:2] for row in rows(first[0])] == [[one["label"], f"{one['score']:.3f}"] for one in expected]
    widths = [
        re.search(r"width: ([\d.]+)%", bar.get("style"))[1] for bar in read(first[0]).findall(".//*[@class='bar']")
    ]
    assert widths == [f"{100 * one['score']:.1f}" for one in expected]
    assert first[1:] == ("", "") and last[0] == first[0]  # the quick part comes first
    assert len(read(last[1]).findall(f".//{SVG}")) == 1
    best = timeline_of(chosen.classifier, clips[0]).runs()
    assert [row[2:] for row in rows(last[1])] == [[label, f"{score:.3f}"] for _, _, label, score in best]


def test_a_long_recording_has_the_mean_of_its_windows(
    chosen: app.Chosen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "long.wav", LONG, 16000, subtype="FLOAT")
    monkeypatch.setattr(app, "CLIP", 1.0)
    ((scores, over_time, why),) = app.score(str(tmp_path / "long.wav"), False, chosen)
    expected = dict(zip(LABELS, timeline_of(chosen.classifier, tmp_path / "long.wav").summary, strict=True))
    assert {row[0]: row[1] for row in rows(scores)} == {label: f"{score:.3f}" for label, score in expected.items()}
    assert rows(over_time) and why == ""
    assert list(app.score(None, False, chosen)) == [("", "", "")]  # what was cleared


def test_values_have_no_bars_and_no_timeline(clips: list[Path]) -> None:
    model, extractor = small_classifier()
    model.config.problem_type = "regression"
    classifier = model.as_pipeline(extractor, device="cpu")
    ((scores, *others),) = app.score(str(clips[0]), False, app.Chosen(classifier, "small"))
    assert rows(scores) == [[one["label"], f"{one['score']:.3f}"] for one in classifier(clips[0])]
    assert others == ["", ""]


def test_silence_has_no_scores(chosen: app.Chosen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("silero_vad")
    soundfile.write(tmp_path / "silence.wav", np.zeros(32000) + 1e-3, 16000)
    monkeypatch.setattr(app, "CLIP", 1.0)
    ((scores, over_time, _),) = app.score(str(tmp_path / "silence.wav"), True, chosen)
    assert rows(scores) == [] and {row[2] for row in rows(over_time)} == {"no_speech"}


def test_what_cannot_be_read_is_told_without_the_servers_folders(
    chosen: app.Chosen, clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = tmp_path / "<b>no & sound.wav"
    bad.write_text("no sound at all")
    ((scores, *others),) = app.score(str(bad), True, chosen)
    (told,) = alerts(scores)
    assert bad.name in told and str(tmp_path) not in told and others == ["", ""]
    assert alerts(app.explanation(str(bad), 0, 0, chosen)) == [told]
    shutil.copy(clips[0], bad)
    assert bad.name in "".join(read(next(app.score(str(bad), True, chosen))[0]).itertext())
    (gone,) = app.score(str(tmp_path / "gone.wav"), True, chosen)
    assert "again" in alerts(gone[0])[0]
    monkeypatch.setattr(app, "SECONDS", 0.5)
    ((scores, *_),) = app.score(str(clips[0]), True, chosen)
    assert "0.5 s" in alerts(scores)[0]
    monkeypatch.setattr(app, "decoded", lambda *_: {}["a mistake of ours"])
    with pytest.raises(KeyError):
        list(app.score(str(clips[0]), True, chosen))


def test_an_explanation_says_what_mattered_and_shows_it(chosen: app.Chosen, clips: list[Path]) -> None:
    page = read(app.explanation(str(clips[0]), 0.1, 0.7, chosen))
    assert len(page.findall(f".//{SVG}")) == 1 and page.findall(".//li")
    assert alerts(app.explanation(None, 0, 0, chosen))
    assert "start=5" in alerts(app.explanation(str(clips[0]), 5, 0, chosen))[0]


def test_a_model_is_adapted_for_who_asks_for_it_only(chosen: app.Chosen, clips: list[Path]) -> None:
    told, adapted = app.adapt([str(clip) for clip in clips] * 2, True, chosen)
    assert alerts(told) == [] and "adapted to 10 clips" in adapted.name
    expected = chosen.classifier.adapt(clips * 2, check=False)(clips[0])
    assert [row[1] for row in rows(next(app.score(str(clips[0]), False, adapted))[0])] == [
        f"{one['score']:.3f}" for one in expected
    ]
    assert chosen.classifier.model.config.adapted_clips == 0 and chosen.classifier(clips[0]) != expected
    for files in (None, [str(clips[0])], [str(clips[0])] * (app.CLIPS + 1)):
        told, kept = app.adapt(files, False, chosen)
        assert alerts(told) and kept is chosen


COMMIT = "a" * 40


@pytest.mark.parametrize(
    ("name", "revision"),
    [
        ("you/emotions", ""),
        ("you/emotions", "main"),
        ("emotions", COMMIT),
        ("../etc", COMMIT),
        ("/etc/x", COMMIT),
        ("https://a/b", COMMIT),
        ("", ""),
    ],
)
def test_a_model_is_taken_by_its_id_and_a_commit_only(name: str, revision: str, chosen: app.Chosen) -> None:
    told, kept = app.choose(name, revision, chosen)
    assert alerts(told) and kept is chosen


@pytest.mark.slow
def test_a_model_of_the_hub_is_fetched_with_nobodys_rights(
    classifier: SERPipeline, clips: list[Path], local_hub: LocalHub, tmp_path: Path
) -> None:
    classifier.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "modeling_ser.py").write_text("raise SystemExit('code of a stranger')")
    program = f"""
    import json
    from huggingface_hub import HfApi
    import app
    api, answers = HfApi(), []
    for name, private in (("alice/app", False), ("alice/app-private", True)):
        api.create_repo(name, private=private)
        commit = api.upload_folder(repo_id=name, folder_path={str(tmp_path / "model")!r}).oid
        told, chosen = app.choose(name, commit, None)
        answers.append([told, chosen and chosen.classifier({str(clips[0])!r})])
    app.of_hub.cache_clear()
    app.MODEL_BYTES = 1000
    answers.append(app.choose("alice/app", api.model_info("alice/app").sha, None))
    print(json.dumps(answers))
    """
    fetched, private, large = run_python_json(
        program, env=local_hub.env(tmp_path / "home"), cwd=tmp_path, with_project=True
    )
    assert alerts(fetched[0]) == [] and by_label(fetched[1]) == pytest.approx(by_label(classifier(clips[0])))
    assert alerts(private[0]) and private[1] is None
    assert "limit" in alerts(large[0])[0] and large[1] is None


def test_a_space_installs_what_the_library_and_the_page_need() -> None:
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    (names,) = re.findall(r"modeling-ser\[([\w,]+)\]", " ".join(extras["app"]))
    needed = {*project["dependencies"], *(one for name in names.split(",") for one in extras[name]), *extras["app"]}
    lines = (PROJECT_ROOT / "app_requirements.txt").read_text(encoding="utf-8").splitlines()
    assert sorted(lines) == sorted(one for one in needed if not one.startswith("modeling-ser"))


@pytest.mark.slow
def test_a_space_made_as_the_guide_says_needs_nothing_else(clips: list[Path], tmp_path: Path) -> None:
    guide = (PROJECT_ROOT / "docs/guides/app.md").read_text(encoding="utf-8")
    (commands,) = re.findall(r"```sh\n(mkdir .*?)```", guide, re.S)
    space = tmp_path / "space"
    run_command(["sh", "-e", "-c", commands.replace("../space", str(space))], env=os.environ, cwd=PROJECT_ROOT)
    program = f"""
import json, sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder)]  # of what is installed of us
import app, modeling_ser_emotions
assert app.__file__ == "{space}/app.py" and modeling_ser_emotions.__path__[0] == "{space}/modeling_ser_emotions"
print(json.dumps(list(app.score("{clips[4]}", True, None))))
"""
    done = run_command([sys.executable, "-c", program], env=offline_environment(tmp_path), cwd=space)
    *_, (scores, over_time, _) = json.loads(done.stdout.splitlines()[-1])
    assert "no_speech" in {row[0] for row in rows(scores)} and rows(over_time)
