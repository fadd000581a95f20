"""Reading cameras in processes that may crash, hang or be killed: the service never does.

`slot` is the memory that frames pass through, `wire` the messages beside it, `__main__` the
process, `process` the service's end of one, `readers` all of them.
"""
