"""The systemd unit of an agent: a user without rights, and no more of the machine than measuring takes."""

from __future__ import annotations

_UNIT = """\
# Printed by `edgecost agent systemd`. As root:
#   useradd --system --home-dir {home} edgecost
#   usermod --append --groups video edgecost    # on a Raspberry Pi: vcgencmd tells nobody else
#   edgecost agent systemd > /etc/systemd/system/edgecost-agent.service
#   systemctl daemon-reload && systemctl enable --now edgecost-agent
[Unit]
Description=edgecost agent: measures what its hub asks for
Wants=network-online.target
After=network-online.target

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


def unit(command: str) -> str:
    """The unit that runs ``command``, the absolute path of edgecost."""
    return _UNIT.format(command=command, home=HOME)
