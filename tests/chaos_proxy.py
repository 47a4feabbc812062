"""A TCP proxy with bad manners: cuts connections at any byte, in either direction, and so truncates what is sent."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress


class BadProxy:
    """Listens on loopback and passes on to one of the ports; some connections are cut after a few bytes.

    Attributes:
        cut_share: of connections; 0 makes it well-behaved.
        cuts: how often it did.
    """

    def __init__(self, ports: Sequence[int], seed: int, cut_share: float) -> None:
        self.cut_share = cut_share
        self.cuts = 0
        self._ports = ports
        self._dice = random.Random(seed)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            budgets = [self._budget(), self._budget()]
            threading.Thread(target=self._pass_on, args=(near, budgets), daemon=True).start()

    def _budget(self) -> int | None:
        """Bytes until the cut; None passes everything on."""
        return int(self._dice.expovariate(1 / 2000)) if self._dice.random() < self.cut_share / 2 else None

    def _pass_on(self, near: socket.socket, budgets: list[int | None]) -> None:
        far = self._connect()
        if far is None:
            near.close()
            return
        pair = ((near, far, budgets[0]), (far, near, budgets[1]))
        threads = [threading.Thread(target=self._pump, args=way, daemon=True) for way in pair]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        near.close()
        far.close()

    def _connect(self) -> socket.socket | None:
        for port in self._dice.sample(list(self._ports), len(self._ports)):
            with suppress(OSError):
                return socket.create_connection(("127.0.0.1", port), timeout=5)
        return None

    def _pump(self, source: socket.socket, target: socket.socket, budget: int | None) -> None:
        with suppress(OSError):
            source.settimeout(60)
            while piece := source.recv(4096):
                if budget is not None and len(piece) >= budget:
                    target.sendall(piece[:budget])
                    self.cuts += 1
                    break
                budget = None if budget is None else budget - len(piece)
                target.sendall(piece)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
