#!/bin/sh
# Boots a systemd of its own in the namespaces that TestUnderSystemd has made: this machine's files,
# with a copy of those of the folder LAYER over them, and nothing that is written stays but what is in its folder out.
set -e
layer=$1 work=$2
mount --make-rprivate /
mkdir "$work/root"
mount -t tmpfs tmpfs "$work/root"
mkdir "$work/root/upper" "$work/root/work" "$work/root/merged"
root=$work/root/merged
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/root/upper,workdir=$work/root/work" "$root"
cp -R "$layer/." "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount --rbind /dev "$root/dev"
mount --bind "$layer/out" "$root/out"
rm -rf "$root"/etc/systemd/system/*.wants
exec env -i container=hookmux-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
	unshare --cgroup chroot "$root" /lib/systemd/systemd --unit=try.target --log-target=console --show-status=0
