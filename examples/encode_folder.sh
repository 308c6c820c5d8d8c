#!/bin/sh
# Encode every video of a folder that has no .gsv yet: sh examples/encode_folder.sh FOLDER [options of encode]
set -u
folder=$1
shift
failed=0
found=0
for video in "$folder"/*.mp4 "$folder"/*.mkv "$folder"/*.webm "$folder"/*.mov; do
    target=${video%.*}.gsv
    if [ ! -f "$video" ]; then continue; fi
    found=1
    if [ -e "$target" ]; then continue; fi
    gscodec encode "$video" "$target" "$@" || failed=1 # goes on with the next one
done
if [ "$found" = 0 ]; then
    echo "$folder: no videos there (looked for .mp4, .mkv, .webm, .mov)" >&2
    exit 1
fi
exit "$failed"
