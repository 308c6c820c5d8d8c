"""An EncoderConfig taken apart once: each step of the encoder gets what it asks for and nothing else."""

from __future__ import annotations

from gscodec.config import EncoderConfig
from gscodec.encode.budget import StopRule, stop_rule
from gscodec.encode.frame_store import FrameSettings
from gscodec.encode.iframe import IFrameSettings
from gscodec.encode.pframe import PFrameSettings


def frame_settings(config: EncoderConfig) -> FrameSettings:
    """How source frames are looked at and shown."""
    return FrameSettings(
        is_room_coded=config.background != "none",
        room_weight=config.background_weight,
        detail=config.detail,
        hold=config.hold,
    )


def iframe_settings(config: EncoderConfig) -> IFrameSettings:
    """How I-frames are made."""
    return IFrameSettings(
        init=config.init,
        seed=config.seed,
        room_share=room_share(config),
        separate_room=config.separate_room,
        iterations=config.iterations,
        noise_iterations=config.noise_iterations,
        polish_passes=config.polish_passes,
    )


def pframe_settings(config: EncoderConfig) -> PFrameSettings:
    """How P-frames are made."""
    return PFrameSettings(
        update_passes=config.update_passes,
        stability=config.stability,
        room_weight=config.background_weight,
        is_room_coded=room_share(config) > 0,
    )


def file_stop_rule(config: EncoderConfig) -> StopRule:
    """When fits end early."""
    return stop_rule(config.target_psnr, config.plateau)


BLACK_SHARE = 0.12  # of the Gaussians, for a room that is one colour


def room_share(config: EncoderConfig) -> float:
    """Share of the Gaussians that an I-frame starts the room from.

    Under the normalised blend a few make the room black where it is not coded: a mean of the person's alone
    would go on beyond the person.
    """
    if config.background != "none":
        return config.background_share
    return BLACK_SHARE if config.blend_used == "normalised" else 0.0
