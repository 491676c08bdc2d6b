import ray, time, os, sys

t = time.time()
os.environ.setdefault("RAY_grpc_client_keepalive_time_ms", "65000")
ray.init(sys.argv[1], log_to_driver=False)
print("joined", time.time() - t)
for n in ray.nodes():
    print(n["NodeManagerAddress"], n["Alive"], n["Resources"])


@ray.remote(num_cpus=1)
def f():
    time.sleep(2)
    return ray.util.get_node_ip_address(), os.getppid()


print(ray.get([f.remote() for _ in range(6)]), time.time() - t)
