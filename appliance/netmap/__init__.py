"""The control client: logs this node in, follows the map stream, and is the one owner of the netmap.

Start at `client` (`ControlClient`) and `store` (`NetmapStore`, `NetmapView`). Spec: control-protocol.
"""
