#!/usr/bin/env bash
# Images of the test cluster as docker-archive files, on a machine without a registry and without Docker (as root).
# Usage: manifests/images/build.sh FOLDER
# Leaves FOLDER/*.tar, one per image; an image whose inputs did not change is not built again.
set -euo pipefail
# Namespaces of its own: however it ends, its processes and mounts end with it.
[ -n "${OWN_NAMESPACES:-}" ] || OWN_NAMESPACES=1 exec unshare --mount --pid --fork --kill-child --mount-proc "$0" "$@"
trap 'exit 130' INT TERM
cd "$(dirname "$0")/../.."
out=$(mkdir -p "$1" && cd "$1" && pwd)
work=$out/.build
local=manifests/images/local
code="pyproject.toml README.md components pipelines serving dashboard cluster"
base=localhost/flywheel/base:bookworm
mkdir -p "$work"
exec 9> "$work/lock" && flock 9 # two builds in one storage would destroy each other

missing=$(for program in buildah debootstrap; do command -v $program >/dev/null || echo $program; done)
if [ -n "$missing" ]; then
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends buildah debootstrap
fi

buildah() { # storage of our own, and no container runtime
  command buildah --root "$work/storage" --runroot "$work/run" --storage-driver overlay "$@"
}

buildah rm --all >/dev/null 2>&1 || true # what a failed build left

# Where this machine's pip finds packages, and its certificates: needed inside a build, never part of an image.
{ echo '[global]'
  echo 'cert = /run/certificates.pem'
  { python3 -m pip config list || true; } | sed -nE "s/^(:env:\.|global\.)(index-url|extra-index-url|trusted-host)='(.*)'$/\2 = \3/p" | sort -u
} > "$work/pip.conf"
certificates=${PIP_CERT:-/etc/ssl/certs/ca-certificates.crt}

# Hash of files and folders.
key() {
  find "$@" -type f -not -path '*/__pycache__/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum
}

# image NAME REFERENCE CONTAINERFILE 'INPUTS' [BUILD-ARG…]
image() {
  local name=$1 reference=$2 file=$3 inputs=$4 now; shift 4
  now="$(key $inputs "$file" manifests/images/build.sh .dockerignore) $*"
  [ -f "$out/$name.tar" ] && [ "$(cat "$work/$name.key" 2>/dev/null)" = "$now" ] && return
  echo "image $reference"
  buildah build --isolation chroot --layers --pull-never --build-arg BASE=$base "${@/#/--build-arg=}" \
    --volume "$work/pip.conf:/etc/pip.conf:ro" --volume "$certificates:/run/certificates.pem:ro" \
    --file "$file" --tag "$reference" . > "$work/$name.log" 2>&1 || { tail -n 30 "$work/$name.log" >&2; return 1; }
  rm -f "$work/$name.tar"
  buildah push --quiet "$reference" "docker-archive:$work/$name.tar:$reference"
  mv "$work/$name.tar" "$out/$name.tar"
  echo "$now" > "$work/$name.key"
}

if ! buildah inspect --type image $base >/dev/null 2>&1; then
  echo "image $base"
  rm -rf "$work/rootfs"
  debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$work/rootfs" \
    "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" > "$work/base.log" 2>&1 || { tail "$work/base.log" >&2; exit 1; }
  rm -rf "$work"/rootfs/var/{cache/apt,lib/apt/lists}/*
  find "$work"/rootfs/usr/share/{doc,man,locale} -type f -delete
  ln -s python3 "$work/rootfs/usr/bin/python"
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$work/rootfs" / >/dev/null
  buildah commit --quiet --rm "$container" $base >/dev/null
  rm -rf "$work/rootfs"
fi

image core localhost/flywheel/core:test manifests/images/Containerfile "requirements/core.txt $code" IMAGE=core &
{
  image storage-initializer docker.io/kserve/storage-initializer:v0.20.0 $local/storage-initializer.Containerfile $local
  image postgres localhost/flywheel/postgres:15 $local/postgres.Containerfile $local
  image trainer localhost/flywheel/trainer:test $local/trainer.Containerfile "$code"
} &
status=0
wait %1 || status=1
wait %2 || status=1
exit $status
