"""systemd units: of an agent, a user without rights; and of control profiles, which root applies and restores for it.

An agent never gets a right: what it cannot restore a unit of root's restores before it starts, with fixed arguments.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

_AGENT = """\
# Printed by `edgecost agent systemd`. As root:
#   useradd --system --home-dir {home} edgecost
#   usermod --append --groups video edgecost    # on a Raspberry Pi: vcgencmd tells nobody else
#   edgecost agent systemd > /etc/systemd/system/edgecost-agent.service
#   systemctl daemon-reload && systemctl enable --now edgecost-agent
[Unit]
Description=edgecost agent: measures what its hub asks for
# edgecost-restore.service is root's (`edgecost control systemd`); where it is not installed nothing is missing.
Wants=network-online.target edgecost-restore.service
After=network-online.target edgecost-restore.service

[Service]
User=edgecost
ExecStart={command} agent run
Environment=EDGECOST_AGENT_HOME={home} PYTHONUNBUFFERED=1
StateDirectory=edgecost-agent
StateDirectoryMode=0700
UMask=0077

# A hub that is away is waited for inside; 2 and 11 want a person (docs/reference/exit-codes.md).
Restart=on-failure
RestartSec=30
RestartPreventExitStatus=2 11
# The agent ends its runners itself, sends what is left and gives the rest back.
KillMode=mixed
TimeoutStopSec=90

# It opens no port, and needs no right. A GPU needs its devices: no PrivateDevices.
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
# No PrivateTmp: the locks that keep two agents of one machine off the same CPU stand in /tmp.
ReadWritePaths=/tmp
# No ProtectKernelLogs: Jetson Linux 32 tells of over-current in the log alone.
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service

[Install]
WantedBy=multi-user.target
"""
#: Where a service keeps its state.
HOME = "/var/lib/edgecost-agent"


#: What both of root's units may do: write settings of the kernel, and run nvpmodel and jetson_clocks. Nothing else.
_OF_ROOT = """\
Type=oneshot
StateDirectory=edgecost
StateDirectoryMode=0755
UMask=0022
# A power mode switches cores off and on, and its program waits for them.
TimeoutStartSec=180
TimeoutStopSec=180

# No ProtectKernelTunables: settings of the kernel are what it is for. No PrivateDevices: a Jetson's programs may need
# theirs, and nobody has tried which capabilities they do without: only those are gone that have nothing to do here.
NoNewPrivileges=yes
CapabilityBoundingSet=~CAP_SYS_MODULE CAP_SYS_BOOT CAP_SYS_PTRACE CAP_SYS_TIME CAP_SETUID CAP_SETGID CAP_SETPCAP
CapabilityBoundingSet=~CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE CAP_MKNOD CAP_MAC_ADMIN CAP_MAC_OVERRIDE
ProtectSystem=full
ProtectHome=read-only
PrivateTmp=yes
PrivateNetwork=yes
RestrictAddressFamilies=AF_UNIX AF_NETLINK
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
"""
_RESTORE = """\
# Printed by `edgecost control systemd`. As root:
#   edgecost control systemd > /etc/systemd/system/edgecost-restore.service
#   systemctl daemon-reload && systemctl enable edgecost-restore
# It runs {command} as root: nobody else may be able to write that, or what it loads.
[Unit]
Description=edgecost: bring back what a control profile left that nobody holds any more
ConditionPathExists=/var/lib/edgecost/control.json
# A Jetson's own service puts it into a power mode, too.
After=nvpmodel.service
Before=edgecost-agent.service

[Service]
ExecStart={command} control restore --leftover
{of_root}
[Install]
WantedBy=multi-user.target
"""
_PROFILE = """\
# Printed by `edgecost control systemd --profile`. As root:
#   edgecost control systemd --profile > /etc/systemd/system/edgecost-control@.service
#   systemctl daemon-reload && systemctl enable --now edgecost-control@governor-performance
# It runs {command} as root: nobody else may be able to write that, or what it loads.
[Unit]
Description=edgecost: the control profile %i
After=nvpmodel.service edgecost-restore.service
Before=edgecost-agent.service

[Service]
RemainAfterExit=yes
ExecStart={command} control apply %i
ExecStop={command} control restore
{of_root}
[Install]
WantedBy=multi-user.target
"""


def agent_unit(command: str) -> str:
    """The unit of an agent that runs ``command``, as ``own_command`` has it."""
    return _AGENT.format(command=command, home=HOME)


def restore_unit(command: str) -> str:
    """The unit of root's that restores what was left, when the machine starts and before each start of an agent."""
    return _RESTORE.format(command=command, of_root=_OF_ROOT)


def profile_unit(command: str) -> str:
    """The template of root's that applies a control profile for as long as the machine runs: its instance names it."""
    return _PROFILE.format(command=command, of_root=_OF_ROOT)


def own_command() -> str:
    """How this edgecost is run, by absolute paths."""
    started = Path(sys.argv[0]).absolute()
    return str(started) if os.access(started, os.X_OK) else f"{sys.executable} -m edgecost"


def not_of_root(command: str) -> Path | None:
    """A file or folder that ``command`` runs or loads and that others than root may write; None where there is none.

    Whoever may write it gets root's rights by a unit that runs it as root.
    """
    loaded = [Path(command.split(" ")[0]), Path(sys.executable), Path(__file__).parent, Path(sys.prefix)]
    found = dict.fromkeys(place for one in loaded for place in (*_ways_to(one), *_ways_to(one.resolve())))
    return next((place for place in found if _is_open_to_others(place)), None)


def _ways_to(path: Path) -> tuple[Path, ...]:
    return (path, *path.parents)


def _is_open_to_others(place: Path) -> bool:
    """By owner and mode; into a folder like /tmp others may write, but not over what is root's in it."""
    try:
        found = place.stat()
    except OSError:
        return True
    is_shared = bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)) and not found.st_mode & stat.S_ISVTX
    return found.st_uid != 0 or is_shared
