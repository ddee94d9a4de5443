"""`make bench`: Tidemark beside rclone at the same source, in interleaved rounds; every result verified.

- `workloads` makes the objects; `server` serves them read-only as S3 (nginx with `s3.lua`), fast and slow
- `peers` runs rclone and Tidemark and says how long each took; `verify` checks what they made
- `rows` is the table; `report` writes it to RESULTS.md
"""
