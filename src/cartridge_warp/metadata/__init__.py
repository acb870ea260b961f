"""What the destination remembers about itself: functions over a given cursor.

The caller owns the transaction. Rows of several tables are always locked in one order:
``table_state``, then ``sync_markers``, then ``snapshot_chunks``.
"""
