"""The paper's statements: what holds, what does not, and what a run cannot say."""

from __future__ import annotations

from bench_rows import row

from gscodec.bench.claims import CLAIMS, claims_section
from gscodec.bench.suite_quantization import point, quantization_section


def verdicts(rows):
    return {line[0]: [line[2], line[1]] for line in claims_section(rows).tables[0].lines}


def started(codec, iterations, seconds, at_1000=32.0):
    figures = {"iterations_to_target": iterations, "seconds_to_target": seconds, "seconds_spent": 9.0}
    return row(codec, suite="init", psnr_db_at_1000=at_1000, **figures)


def curve(codec, rate):
    points = [(rate * 2**i, 26 + 1.7 * i) for i in range(4)]
    return [row(codec, suite="rd", kbit_per_s=r, roi_psnr_db=db, motion=0.5) for r, db in points]


def test_claims_never_hold_without_rows():
    said = verdicts([])
    assert len(said) == len(CLAIMS)
    assert {verdict for _, verdict in said.values()} == {"cannot be checked here"}


def test_claims_can_fail():
    said = verdicts([row(encode_fps=0.2, p_changed=500, n_gaussians=1000)])
    assert said["encode rate"] == ["0.2 FPS", "does not"]
    assert said["a P-frame codes N/20 Gaussians"] == ["N/2.0; about 1000 Gaussians", "does not"]


def test_claims_of_the_start():
    ours, paper = started("superpixels, colours solved", 14, 0.1), started("profile paper", 195, 0.5)
    placed, random = started("superpixels", 40, 0.2), started("random", 30, 0.2)
    theirs = started("profile gaussianimage", 2000, 1.0, 28.0)
    said = verdicts([ours, paper, placed, random, theirs])
    assert said["encoding takes 88 % less time than GaussianImage's"] == [
        "90.0 %, 50.0 % (profile paper); to 30 dB",
        "holds",
    ]
    assert said["encoding is 8 times faster than GaussianImage's"][1] == "holds"
    assert said["fewer iterations to 30 dB than GaussianImage"] == [
        "14, 195 (profile paper) against 2000 (profile gaussianimage)",
        "holds",
    ]
    assert said["… because of superpixels: against random, one optimiser"] == ["40 against 30", "does not"]
    assert said["30.6 dB after 1000 iterations"][1] == "holds"


def test_a_rival_that_never_arrives_gives_a_bound():
    rows = [started("superpixels, colours solved", 14, 0.9), started("profile gaussianimage", None, None)]
    said = verdicts(rows)
    assert said["encoding is 8 times faster than GaussianImage's"] == [
        "at least 10 times; to 30 dB, which GaussianImage does not reach everywhere",
        "holds",
    ]
    assert "never on 1 of 1" in said["fewer iterations to 30 dB than GaussianImage"][0]


def test_out_of_reach_is_no_verdict():
    rows = [started("superpixels, colours solved", None, None), started("profile gaussianimage", None, None)]
    assert verdicts(rows)["fewer iterations to 30 dB than GaussianImage"] == [
        "30 dB is out of reach on every clip (1)",
        "cannot be checked here",
    ]


def test_claims_of_bits():
    rows = [
        row(suite="bits", point="N 1000", bpp=0.02, roi_psnr_db=31.0),
        row("paper", suite="bits", point="N 1000", bpp=0.05, roi_psnr_db=29.5),
        row("gaussianimage", suite="bits", point="N 1000", bpp=0.2, roi_psnr_db=29.0),
    ]
    said = verdicts(rows)
    assert said["78 % fewer bytes than GaussianImage"] == [
        "−90.0 %, −75.0 % (profile paper); files, mean over N",
        "holds",
    ]
    text, verdict = said["a better picture than GaussianImage's, fast setting"]
    assert text.startswith("+2.00 dB, +0.50 dB (profile paper)")
    assert verdict == "holds"


def test_claims_of_quantisation():
    ends = {(250, 1000): 27.0, (2000, 1000): 33.0, (1000, 100): 28.0, (1000, 10_000): 32.0}
    rows = [
        row(f"paper {kind}", suite="quantization", point=point(*at), roi_psnr_db=value - loss)
        for kind, loss in (("ptq", 0.5), ("qat", 0.0))
        for at, value in ends.items()
    ]
    rows.append(row("times", suite="quantization", ptq_ms=2.0, qat_ms=160.0))
    said = verdicts(rows)
    assert said["PTQ is a thousand times quicker than QAT"] == [
        "2.00 ms against 160 ms: 80 times",
        "does not",
    ]
    assert said["QAT gives more quality than PTQ"][1] == "holds"
    assert said["the number of Gaussians matters more than iterations"] == [
        "2.00 dB per doubling of N, 0.60 of iterations",
        "holds",
    ]
    assert quantization_section(rows).tables[1].lines[0] == ["250", "26.50", "27.00"]


def test_claims_of_the_curves():
    said = verdicts([*curve("gscodec", 10), *curve("gaussianimage", 20)])
    assert said["above GaussianImage's curve"] == [
        "BD-rate −50.0 % against gaussianimage; RGB-PSNR, 26–31 dB",
        "holds",
    ]
    assert said["PSNR above x264's at low rate"] == ["run the suite rd", "cannot be checked here"]
