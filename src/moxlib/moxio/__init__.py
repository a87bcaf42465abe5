"""I/O helpers, one module each; they know nothing of mail.

Every name can be imported from here, and loads its module when it is first used: `from moxlib.moxio import
Base64Writer` loads neither asyncio nor anything that is not in the standard library.
"""

from moxlib._lazy import lazy_names

TYPE_CHECKING = False  # typing's own costs more than the smaller helpers do
if TYPE_CHECKING:
    from moxlib.moxio.atreader import AtReader, HasFileno
    from moxlib.moxio.base64writer import Base64Writer
    from moxlib.moxio.bufpool import AsyncBufferedReader, Bufpool, LineReader, LineTooLong
    from moxlib.moxio.flatewriter import Compressor, FlateWriter
    from moxlib.moxio.isclosed import is_closed
    from moxlib.moxio.limitatreader import LimitAtReader
    from moxlib.moxio.limitreader import AsyncLimitReader, LimitReader
    from moxlib.moxio.linkcopy import link_or_copy, link_or_copy_async
    from moxlib.moxio.prefixconn import AsyncPrefixConn, PrefixConn, SocketLike
    from moxlib.moxio.storagespace import is_storage_space
    from moxlib.moxio.streams import AsyncReader, AsyncWriter, Reader, ReaderAt, Writer
    from moxlib.moxio.syncdir import sync_dir, sync_dir_async
    from moxlib.moxio.tlsconn import AsyncTLSConn, TLSConn, wrap_tls, wrap_tls_async
    from moxlib.moxio.tlsinfo import TLSState, tls_info
    from moxlib.moxio.trace import (
        TRACE,
        TRACE_AUTH,
        TRACE_DATA,
        AsyncTraceReader,
        AsyncTraceWriter,
        TraceReader,
        TraceWriter,
        log_trace,
    )
    from moxlib.moxio.workq import AsyncWorkQueue, WorkQueue

__all__ = [
    "TRACE",
    "TRACE_AUTH",
    "TRACE_DATA",
    "AsyncBufferedReader",
    "AsyncLimitReader",
    "AsyncPrefixConn",
    "AsyncReader",
    "AsyncTLSConn",
    "AsyncTraceReader",
    "AsyncTraceWriter",
    "AsyncWorkQueue",
    "AsyncWriter",
    "AtReader",
    "Base64Writer",
    "Bufpool",
    "Compressor",
    "FlateWriter",
    "HasFileno",
    "LimitAtReader",
    "LimitReader",
    "LineReader",
    "LineTooLong",
    "PrefixConn",
    "Reader",
    "ReaderAt",
    "SocketLike",
    "TLSConn",
    "TLSState",
    "TraceReader",
    "TraceWriter",
    "WorkQueue",
    "Writer",
    "is_closed",
    "is_storage_space",
    "link_or_copy",
    "link_or_copy_async",
    "log_trace",
    "sync_dir",
    "sync_dir_async",
    "tls_info",
    "wrap_tls",
    "wrap_tls_async",
]

if not TYPE_CHECKING:  # a type checker that saw __getattr__ would let every misspelt name pass
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "AtReader": ".atreader",
            "HasFileno": ".atreader",
            "Base64Writer": ".base64writer",
            "AsyncBufferedReader": ".bufpool",
            "Bufpool": ".bufpool",
            "LineReader": ".bufpool",
            "LineTooLong": ".bufpool",
            "Compressor": ".flatewriter",
            "FlateWriter": ".flatewriter",
            "is_closed": ".isclosed",
            "LimitAtReader": ".limitatreader",
            "AsyncLimitReader": ".limitreader",
            "LimitReader": ".limitreader",
            "link_or_copy": ".linkcopy",
            "link_or_copy_async": ".linkcopy",
            "AsyncPrefixConn": ".prefixconn",
            "PrefixConn": ".prefixconn",
            "SocketLike": ".prefixconn",
            "is_storage_space": ".storagespace",
            "AsyncReader": ".streams",
            "AsyncWriter": ".streams",
            "Reader": ".streams",
            "ReaderAt": ".streams",
            "Writer": ".streams",
            "sync_dir": ".syncdir",
            "sync_dir_async": ".syncdir",
            "AsyncTLSConn": ".tlsconn",
            "TLSConn": ".tlsconn",
            "wrap_tls": ".tlsconn",
            "wrap_tls_async": ".tlsconn",
            "TLSState": ".tlsinfo",
            "tls_info": ".tlsinfo",
            "TRACE": ".trace",
            "TRACE_AUTH": ".trace",
            "TRACE_DATA": ".trace",
            "AsyncTraceReader": ".trace",
            "AsyncTraceWriter": ".trace",
            "TraceReader": ".trace",
            "TraceWriter": ".trace",
            "log_trace": ".trace",
            "AsyncWorkQueue": ".workq",
            "WorkQueue": ".workq",
        },
    )
