/*
 * Sealing: few pages written by a run are few pages that each instance has to copy.
 *
 * A part of guest.c, which includes it and says when.
 */

/* Memory that grew does not shrink, and an instance whose memory grew is not used again. So there are
 * pages for a small run, which the C library takes before it lets memory grow; the nearest first. */
static void leave_room(int page_count) {
    void *pages[ROOM_PAGE_COUNT_MAX];
    for (int index = 0; index < page_count; index++)
        pages[index] = checked(malloc(WASM_PAGE_BYTES / 4 * 3));
    for (int index = page_count - 1; index >= 0; index--)
        free(pages[index]);
}

/* What a run allocates would fall into the holes that the prelude left, each on a page of its own.
 * So the holes are filled, for good: what comes now lies side by side, in memory that is not there
 * yet. The arenas that each size then begins with are small, or each would take pages of its own. */
static void fill_holes(int room_page_count) {
    uintptr_t end = __builtin_wasm_memory_size(0) * WASM_PAGE_BYTES;
    for (size_t size = HOLE_SIZE_MAX; size >= HOLE_SIZE_MIN; size -= size / 8) {
        void *hole;
        while ((uintptr_t)(hole = checked(malloc(size))) < end)
            ;
        free(hole);
    }
    cloche_arena_bytes = SEALED_ARENA_BYTES;
    for (size_t size = 8; size <= ARENA_BLOCK_BYTES_MAX; size += 8)
        for (uint32_t before = request_count; before == request_count;)
            js_malloc_rt(runtime, size);
    cloche_arena_bytes = ARENA_BYTES;
    leave_room(room_page_count);
}

/* Counting references writes to whatever a run only looks at. What is there now stays for good, so
 * its count begins with JS_SEALED, and the engine leaves it alone (build.py). Not so shapes that
 * belong to one object: the count says that the object may change them. */
static void seal_count(JSMallocBlockHeader *block) {
    if (block->ref_count < JS_SEALED)
        block->ref_count += JS_SEALED;
}

static void seal_references(void) {
    struct list_head *at;
    for (int index = 0; index < JS_ARENA_BLOCK_SIZE_COUNT; index++)
        list_for_each(at, &runtime->arena_state.arena_list[index]) {
            JSArena *arena = list_entry(at, JSArena, link);
            for (int number = 0; number < arena->n_blocks; number++)
                seal_count((JSMallocBlockHeader *)arena_get_block(arena, number, arena_block_sizes[index]));
        }
    list_for_each(at, &runtime->gc_obj_list) {
        JSGCObjectHeader *object = list_entry(at, JSGCObjectHeader, link);
        bool is_unique = JS_GC_TYPE(object) == JS_GC_OBJ_TYPE_SHAPE &&
                         JS_REF_COUNT(object) % JS_SEALED == 1;
        JS_REF_COUNT(object) = JS_REF_COUNT(object) % JS_SEALED + (is_unique ? 0 : JS_SEALED);
    }
}
