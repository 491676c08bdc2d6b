"""Where units run on a cluster.

Tests: `ray_work` is what the tasks of `test_ray_tasks.py` do, `task_cluster` what the pool of
`test_task_pool.py` works on.
"""
