#!/usr/bin/env python3
"""Encode a clip and print how it went: python examples/encode_clip.py in.mp4 out.gsv"""

import sys

from gscodec import GscodecError, encode_file, encoder_config


def main() -> None:
    """Encode sys.argv[1] to sys.argv[2]."""
    source, target = sys.argv[1:]
    config = encoder_config("fast", gaussians=800, gop_length=30)
    try:
        tally = encode_file(source, target, config, progress=lambda t: print(t.n_frames, "frames", end="\r"))
    except (GscodecError, OSError) as error:
        sys.exit(str(error))
    for warning in tally.warnings:
        print("warning:", warning)
    print(f"{tally.n_frames} frames at {tally.fps:.1f} per second, {tally.n_bytes} bytes,")
    print(f"{tally.roi_psnr_db:.2f} dB where it matters, {tally.psnr_db:.2f} dB overall")


if __name__ == "__main__":
    main()
