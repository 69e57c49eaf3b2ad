"""Small generated corpora in the published layouts and grammars, with the oddities of the published ones planted."""

import itertools
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import soundfile

from dataset_scripts import load_corpus
from dataset_scripts.ased import WRONG_SEX

URDU_CLIPS = {
    "Angry": {"SM1": 22, "SM2": 28, "SM3": 2, "SM4": 48},
    "Happy": {"SF1": 12, "SF2": 2, "SF3": 2, "SF4": 4, "SF5": 4, "SF6": 14, "SF7": 6, "SF8": 2, "SM17": 2, "SM18": 2,
              "SM19": 2, "SM3": 2, "SM5": 8, "SM6": 10, "SM7": 28},
    "Neutral": {"SF9": 4, "SM20": 10, "SM21": 4, "SM22": 2, "SM3": 8, "SM5": 72},
    "Sad": {"SF10": 2, "SF11": 4, "SM23": 6, "SM24": 38, "SM25": 40, "SM26": 2, "SM27": 4, "SM6": 4},
}  # fmt: skip
NEMO_SENTENCES = {"6": "Dziunia, nie jesteś moim szefem.", "38": "„Ród smoka” to serial telewizyjny."}
NEMO_PEOPLE = {"WR0": ("male", 23), "EB0": ("female", 27), "KS0": ("male", 23), "MK0": ("female", 23)}


# How many utterances of each label a session has.
PLAN = {
    "improvised": {"ang": 2, "hap": 1, "neu": 3, "sad": 2, "exc": 1, "fru": 2, "xxx": 3},
    "scripted": {"ang": 1, "hap": 1, "neu": 2, "sad": 1, "exc": 2, "fea": 1, "sur": 1, "dis": 1, "oth": 1, "xxx": 1},
}
RATER_NAMES = {"ang": "Anger", "hap": "Happiness", "neu": "Neutral state", "sad": "Sadness", "exc": "Excited",
               "fru": "Frustration", "fea": "Fear", "sur": "Surprise", "dis": "Disgust", "oth": "Other"}  # fmt: skip


def load_from(folder: Path, name: str, **options: Any) -> datasets.Dataset:
    """Load a corpus with its cache beside it."""
    return load_corpus(name, data_dir=folder, cache_dir=folder.parent / "cache", **options)


def edit(path: Path, old: str, new: str) -> None:
    """Change a text file, and what must be in it."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def write_clip(path: Path, seconds: float = 0.1, rate: int = 16000, channels: int = 1) -> Path:
    """Write noise that only this name has; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(zlib.crc32(path.stem.lower().encode()))
    soundfile.write(path, random.uniform(-0.3, 0.3, (round(seconds * rate), channels)), rate)
    return path


def write_emodb(
    root: Path,
    speakers: Iterable[str] = ("03", "08", "09"),
    texts: Iterable[str] = ("a01", "b02"),
    emotions: Iterable[str] = "WLEAFTN",
) -> Path:
    """Write `wav/SSTTTEv`."""
    for speaker, text, emotion in itertools.product(speakers, texts, emotions):
        write_clip(root / "wav" / f"{speaker}{text}{emotion}{'ab'[text == 'b02']}.wav")
    return root


def write_ased(root: Path) -> Path:
    """Write `NNName/eN-YY-RR-GG-BB`, with wrong codes of sex and an upper-case name; speaker 30 alone is a man."""
    folders = {"n1": "01Neutral", "f2": "02Fearful", "h3": "03Happy", "s4": "04Sad", "a5": "05Angry"}
    speakers = {"09": "01", "15": "01", "29": "01", "30": "02"}
    names = [f"{c}-{n}-01-{sex}-{s}" for (s, sex), c, n in itertools.product(speakers.items(), folders, ("01", "03"))]
    for name in [*names, *(name for name in WRONG_SEX if name[-2:] in speakers), "S4-04-02-01-29"]:
        write_clip(root / folders[name[:2].lower()] / f"{name}.wav")
    return root


def write_tess(root: Path) -> Path:
    """Write `XAF_word_emotion` in folders, one name misspelled, one file at 96 kHz."""
    emotions = ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad")
    for speaker, word, emotion in itertools.product(("OAF", "YAF"), ("back", "bite"), emotions):
        name = f"{speaker}_{word}_{emotion}".replace("OAF_bite_neutral", "OA_bite_neutral")
        write_clip(root / f"{speaker}_{emotion}" / f"{name}.wav", rate=96000 if name == "OAF_back_ps" else 24414)
    return root


def write_savee(root: Path, folders: bool) -> Path:
    """Write `DC_a01`, or `AudioData/DC/a01`."""
    emotions = ("a", "d", "f", "h", "n", "sa", "su")
    for speaker, emotion, number in itertools.product(("DC", "JE", "JK", "KL"), emotions, ("01", "02")):
        name = f"{emotion}{number}.wav"
        write_clip(root / "AudioData" / speaker / name if folders else root / f"{speaker}_{name}")
    return root


def write_crema_d(root: Path) -> Path:
    """Write `AudioWAV/SSSS_TTT_EEE_II`, one intensity of one letter only."""
    emotions = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
    for speaker, sentence, emotion in itertools.product((1001, 1002, 1003), ("DFA", "IEO"), emotions):
        intensity = "HI" if sentence == "IEO" and emotion != "NEU" else "XX"
        write_clip(root / "AudioWAV" / f"{speaker}_{sentence}_{emotion}_{intensity}.wav")
    write_clip(root / "AudioWAV" / "1040_ITH_SAD_X.wav")
    return root


def write_urdu(root: Path) -> Path:
    """Write all 400 names as published."""
    for folder, speakers in URDU_CLIPS.items():
        number = 0
        for speaker, clips in speakers.items():
            for clip in range(1, clips + 1):
                number += 1
                write_clip(root / folder / f"{speaker}_F{clip}_{folder[0]}0{number}.wav", seconds=0.02)
    return root


def write_nemo(root: Path) -> Path:
    """Write `samples/XXN_emotion_NN` and `data.tsv`, whose fields carry spaces."""
    lines = ["file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage"]
    for (speaker, (sex, age)), emotion, (number, text) in itertools.product(
        NEMO_PEOPLE.items(), ("anger", "fear", "happiness", "neutral", "sadness", "surprised"), NEMO_SENTENCES.items()
    ):
        name = f"{speaker}_{emotion}_{number}.wav"
        write_clip(root / "samples" / name, rate=24000)
        lines.append(f"{name}\t{emotion}\t{text}\t{text.lower()}\t        {speaker}\t{sex}\t{age}")
    (root / "data.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def write_speechocean762(root: Path, suffix: str = ".WAV") -> Path:
    """Write `WAVE/SPEAKERNNNN/NNNNNNNNN` and the Kaldi files; 2 speakers of 2 clips in each half."""
    for split, speakers in (("train", ("0001", "0006")), ("test", ("0003", "0024"))):
        tables = {"text": "", "utt2spk": "", "spk2gender": "", "spk2age": "", "wav.scp": ""}
        for speaker, number in itertools.product(speakers, (11, 35)):
            clip = f"{speaker.zfill(5)}{number:04}"
            write_clip(root / "WAVE" / f"SPEAKER{speaker}" / f"{clip}{suffix}")
            tables["text"] += f"{clip}\tWE CALL IT BEAR\n"
            tables["utt2spk"] += f"{clip} {speaker}\n"
            tables["wav.scp"] += f"{clip}\tWAVE/SPEAKER{speaker}/{clip}.WAV\n"
        for speaker in speakers:
            tables["spk2gender"] += f"{speaker}\t{'f' if speaker == '0006' else 'm'}\n"
            tables["spk2age"] += f"{speaker}\t6\n"
        (root / split).mkdir()
        for name, text in tables.items():
            (root / split / name).write_text(text)
    return root


def write_iemocap(root: Path) -> Path:
    """Write five sessions with evaluations, transcripts, utterances, and what else the release has.

    Session 2 has Windows line ends and a transcript in its code page; each dialogue's first utterance has no
    transcript; hidden files, raters' own files and recordings of whole dialogues lie about as in the release.
    """
    for session in range(1, 6):
        dialog = root / f"Session{session}" / "dialog"
        for condition, name in (("improvised", "impro08b"), ("scripted", "script01_1")):
            # The letter of the dialogue is whoever wore the markers: here always the woman.
            dialogue = f"Ses0{session}F_{name}"
            labels = [label for label, count in PLAN[condition].items() for _ in range(count)]
            _write_dialogue(root / f"Session{session}", dialogue, labels, windows=session == 2)
        (dialog / "EmoEvaluation/Categorical").mkdir()
        (dialog / f"EmoEvaluation/Categorical/Ses0{session}F_impro08b_e2_cat.txt").write_text("x :Neutral; ()\n")
        (dialog / "EmoEvaluation" / f"._Ses0{session}F_impro08b.txt").write_bytes(b"\0\5\26\7")
    return root


def _write_dialogue(session: Path, dialogue: str, labels: list[str], windows: bool) -> None:
    evaluation = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
    transcript = []
    for index, label in enumerate(labels):
        utterance = f"{dialogue}_{'FM'[index % 2]}{index:03}"
        start, end = 6.2901 + 2 * index, 6.3901 + 2 * index
        write_clip(session / "sentences" / "wav" / dialogue / f"{utterance}.wav", seconds=0.1)
        rater = RATER_NAMES.get(label, "Anger")
        evaluation += [
            f"[{start:.4f} - {end:.4f}]\t{utterance}\t{label}\t[2.5000, 3.{index:04}, 2.0000]",
            f"C-E2:\t{rater};\t()",
            f"C-E3:\tFrustration; {rater};\t(mildly aggravated, but polite)",
            f"C-F1:\t{rater};\t()" if index % 3 else "C-F1:\t;\t()",
            "A-E3:\tval 3; act 2; dom  2;\t()",
            "A-F1:\tval 3; act 2; dom  ;\t()",
            "",
        ]
        if index:
            words = "That’s it." if windows else "Excuse me: no [LAUGHTER]."
            transcript.append(f"{utterance} [{start:08.4f}-{end:08.4f}]: {words}")
    transcript += ["M: what was between", f"{dialogue}_FXX0 [001.0000-002.0000]: Hm."]
    newline = "\r\n" if windows else "\n"
    for folder, lines in (("EmoEvaluation", evaluation), ("transcriptions", transcript)):
        path = session / "dialog" / folder / f"{dialogue}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(newline.join([*lines, ""]).encode("cp1252" if windows else "utf-8"))
    write_clip(session / "dialog" / "wav" / f"{dialogue}.wav", channels=2)
