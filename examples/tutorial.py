"""The example of the funcX tutorial, as it stands there. It wants `bursa up --tutorial`."""


def funcx_sum(items):
    return sum(items)


from funcx.sdk.client import FuncXClient  # noqa: E402

fxc = FuncXClient()
func_uuid = fxc.register_function(funcx_sum, description="A summation function")
endpoint_uuid = "4b116d3c-1703-4f8f-9f6f-39921e5864df"
items = [1, 2, 3, 4, 5]
res = fxc.run(items, endpoint_id=endpoint_uuid, function_id=func_uuid)
print(f"the sum of {items} is", fxc.get_result(res))
