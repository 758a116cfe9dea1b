#!/usr/bin/env bash
# demo.sh BINARY: judge a few contents under three shipped policies with a very small model, as a person would see it.
set -euo pipefail
[ $# = 1 ] && [ -x "$1" ] || { echo "usage: tools/demo.sh BINARY (make build leaves it at build/safeguard)" >&2; exit 2; }
binary=$(realpath -s "$1")
cd "$(dirname "$0")/.."
model=$(tools/fetch_demo_model.sh)

cat <<'TEXT'

What follows shows the machinery: a written policy and a content go in, the model's reasoning and a verdict come out.
The model is SmolLM2-135M-Instruct, a very small general model (98 MB) that was never trained for this. Its reasoning is
mostly nonsense and its judgement is poor: expect wrong verdicts below. For real use, fetch a model that was made for it:

  safeguard pull gpt-oss-safeguard-20b-gguf     12 GB of disk, a machine with at least 16 GB of memory
  safeguard pull gpt-oss-safeguard-120b-gguf    61 GB of disk, a machine with at least 80 GB of memory

and give its name to --model.
TEXT

show() {
    local policy=$1 content=$2 status=0
    printf '\n$ safeguard check --policy policies/%s.md "%s"\n' "$policy" "$content"
    "$binary" check --model "$model" --policy "policies/$policy.md" "$content" || status=$?
    case $status in # a verdict of any kind is what we came for
    0 | 10 | 11 | 12) ;;
    *) echo "demo: safeguard failed with exit status $status" >&2; exit "$status" ;;
    esac
}

show game-chat "undetected aimbot, 10 dollars a month, dm me"
show game-chat "gg ez, my cat plays better"
show product-reviews "The kettle is fine, but the lid rattles when it boils. Three stars."
show product-reviews "I got this mixer for free in return for five stars, and they are deserved!!!"
show spam-scams "Your parcel is held. Pay 1.99 within 24 hours: parcel-fee.example"
show spam-scams "The meeting moved to 3 pm, same room."
