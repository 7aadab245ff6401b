//! The tree as a FUSE file system with the manners of sysfs: one `read(2)` is one show, one `write(2)` is one store, nothing is cached,
//! and `open(2)` refuses what a file's mode does not offer, even to root.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenAccMode,
    OpenFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite,
    Request, TimeOrNow, WriteFlags,
};
use nix::errno::Errno;

use crate::attribute::Attribute;
use crate::fault::On;
use crate::sketch::{File, Leaf};
use crate::state::{Handle, Shared, State};
use crate::tree::Found;

/// What the kernel may remember: nothing, since every look must find the machine as it is.
const NO_CACHE: Duration = Duration::ZERO;
/// The size that sysfs gives its attributes, and the most that one store takes.
const PAGE: usize = 4096;

pub(crate) struct Files(pub(crate) Arc<Shared>);

fn fuse(errno: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(errno as i32)
}

fn attributes(state: &State, inode: u64) -> Result<FileAttr, Errno> {
    let (kind, perm, size) = match state.tree.get(state.tree.real(inode)).ok_or(Errno::ENOENT)? {
        Found::Folder(_) | Found::Leaf(Leaf::Folder, _) => (FileType::Directory, 0o755, 0),
        Found::Leaf(Leaf::Link(text), _) => (FileType::Symlink, 0o777, text.len()),
        Found::Leaf(Leaf::Device, _) => (FileType::CharDevice, 0o600, 0),
        Found::Leaf(Leaf::File(file), _) => (FileType::RegularFile, file.mode, PAGE),
    };
    Ok(FileAttr {
        ino: INodeNo(inode),
        size: size as u64,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    })
}

fn file(state: &State, inode: u64) -> Result<&File, Errno> {
    match state.tree.get(inode) {
        Some(Found::Leaf(Leaf::File(file), _)) => Ok(file),
        Some(Found::Folder(_) | Found::Leaf(Leaf::Folder, _)) => Err(Errno::EISDIR),
        Some(Found::Leaf(..)) => Err(Errno::ENXIO),
        // What kernfs answers on an open file whose device has gone.
        None => Err(Errno::ENODEV),
    }
}

/// The content from an offset on, read anew at the start of the file.
fn read(state: &mut State, handle: u64, offset: u64, size: u32, fault: Option<Vec<u8>>) -> Result<Vec<u8>, Errno> {
    let inode = state.handles.get(&handle).ok_or(Errno::EBADF)?.inode;
    if offset == 0 {
        let content = fault.map_or_else(|| file(state, inode)?.content.clone(), Ok)?;
        if let Some(handle) = state.handles.get_mut(&handle) {
            handle.content = content;
        }
    }
    let content = state.handles.get(&handle).map_or(&[][..], |handle| &handle.content);
    let from = content.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
    let to = content.len().min(from + size as usize);
    Ok(content[from..to].to_vec())
}

impl Filesystem for Files {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.0.look(|state| {
            let child = name.to_str().and_then(|name| state.tree.child(parent.0, name));
            let Some(inode) = child else { return reply.error(fuser::Errno::ENOENT) };
            let path = state.tree.path(inode);
            let inode = if state.is_written(inode) { state.tree.alias(inode) } else { inode };
            state.disturbed(
                On::Lookup,
                &path,
                Box::new(move |state, result| match result.and_then(|_| attributes(state, inode)) {
                    Ok(found) => reply.entry(&NO_CACHE, &found, Generation(0)),
                    Err(errno) => reply.error(fuse(errno)),
                }),
            );
        });
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match attributes(&self.0.lock(), inode.0) {
            Ok(found) => reply.attr(&NO_CACHE, &found),
            Err(errno) => reply.error(fuse(errno)),
        }
    }

    // Truncation, which `echo >` and `fs::write` ask for, does nothing in sysfs; nor do changed times.
    fn setattr(
        &self,
        request: &Request,
        inode: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<std::time::SystemTime>,
        handle: Option<FileHandle>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        self.getattr(request, inode, handle, reply);
    }

    fn readlink(&self, _: &Request, inode: INodeNo, reply: ReplyData) {
        let mut state = self.0.lock();
        let text = match state.tree.get(inode.0) {
            Some(Found::Leaf(Leaf::Link(text), _)) => text.clone(),
            Some(_) => return reply.error(fuser::Errno::EINVAL),
            None => return reply.error(fuser::Errno::ENOENT),
        };
        let path = state.tree.path(inode.0);
        state.record.link(path);
        reply.data(text.as_bytes());
    }

    fn open(&self, _: &Request, inode: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.0.look(|state| {
            let inode = state.tree.real(inode.0);
            let path = state.tree.path(inode);
            state.disturbed(
                On::Open,
                &path,
                Box::new(move |state, result| match result.and_then(|_| open(state, inode, flags)) {
                    Ok((handle, flags)) => reply.opened(FileHandle(handle), flags),
                    Err(errno) => reply.error(fuse(errno)),
                }),
            );
        });
    }

    fn create(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        // sysfs has no way to make a file: the path that somebody wanted to write is not there.
        reply.error(fuser::Errno::EACCES);
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        // Reading the answer of a program is what runs it.
        let inode = self.0.lock().tree.real(inode.0);
        let runs = matches!(file(&self.0.lock(), inode), Ok(File { attribute: Some(Attribute::Commands), .. }));
        if runs {
            return self.0.act(|state| crate::command::read(state, handle.0, size, reply));
        }
        self.0.look(|state| {
            let resume = move |state: &mut State, result: Result<Option<Vec<u8>>, Errno>| match result
                .and_then(|content| read(state, handle.0, offset, size, content))
            {
                Ok(bytes) => reply.data(&bytes),
                Err(errno) => reply.error(fuse(errno)),
            };
            if offset == 0 {
                let path = state.tree.path(inode);
                state.record.read(path.clone());
                state.disturbed(On::Read, &path, Box::new(resume));
            } else {
                resume(state, Ok(None));
            }
        });
    }

    fn write(
        &self,
        _: &Request,
        inode: INodeNo,
        handle: FileHandle,
        _: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let text = data[..data.len().min(PAGE)].to_vec();
        self.0.act(|state| {
            let inode = state.tree.real(inode.0);
            if let Ok(File { attribute: Some(Attribute::Commands), .. }) = file(state, inode) {
                reply.written(crate::command::write(state, handle.0, &text));
                return;
            }
            let size = u32::try_from(text.len()).unwrap_or(u32::MAX);
            state.write(
                inode,
                text,
                Box::new(move |result| match result {
                    Ok(()) => reply.written(size),
                    Err(errno) => reply.error(fuse(errno)),
                }),
            );
        });
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.0.lock().handles.remove(&handle.0);
        reply.ok();
    }

    fn opendir(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.0.look(|state| {
            let path = state.tree.path(inode.0);
            state.record.list(path.clone());
            state.disturbed(
                On::List,
                &path,
                Box::new(move |state, result| match result.and_then(|_| list(state, inode.0)) {
                    Ok(names) => {
                        let handle = state.handle(Handle { inode: inode.0, names, ..Handle::default() });
                        reply.opened(FileHandle(handle), FopenFlags::empty());
                    }
                    Err(errno) => reply.error(fuse(errno)),
                }),
            );
        });
    }

    fn readdir(&self, _: &Request, _: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let state = self.0.lock();
        let names = state.handles.get(&handle.0).map_or(&[][..], |handle| &handle.names);
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        for (at, (inode, name)) in names.iter().enumerate().skip(start) {
            let kind = attributes(&state, *inode).map_or(FileType::RegularFile, |found| found.kind);
            if reply.add(INodeNo(*inode), at as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.0.lock().handles.remove(&handle.0);
        reply.ok();
    }

    fn access(&self, _: &Request, _: INodeNo, _: fuser::AccessFlags, reply: ReplyEmpty) {
        reply.ok();
    }
}

fn open(state: &mut State, inode: u64, flags: OpenFlags) -> Result<(u64, FopenFlags), Errno> {
    let file = match state.tree.get(inode) {
        None => return Err(Errno::ENOENT),
        _ => file(state, inode)?,
    };
    let (reads, writes) = (file.mode & 0o444 != 0, file.mode & 0o222 != 0);
    let allowed = match flags.acc_mode() {
        OpenAccMode::O_RDONLY => reads,
        OpenAccMode::O_WRONLY => writes,
        OpenAccMode::O_RDWR => reads && writes,
    };
    if !allowed {
        return Err(Errno::EACCES);
    }
    // A blocked `remove` must not keep a second writer from being answered.
    let mut how = FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES;
    if file.attribute == Some(Attribute::Commands) {
        how |= FopenFlags::FOPEN_STREAM | FopenFlags::FOPEN_NONSEEKABLE;
    }
    Ok((state.handle(Handle { inode, ..Handle::default() }), how))
}

fn list(state: &State, inode: u64) -> Result<Vec<(u64, String)>, Errno> {
    let children = match state.tree.get(inode) {
        Some(Found::Folder(children)) => children,
        Some(Found::Leaf(..)) => return Err(Errno::ENOTDIR),
        None => return Err(Errno::ENOENT),
    };
    let own = [(inode, ".".to_owned()), (state.tree.parent(inode), "..".to_owned())];
    Ok(own.into_iter().chain(children.iter().map(|(name, inode)| (*inode, name.clone()))).collect())
}
