//! Values of several units brought together: by plane operations, or through shared memory where
//! the device has none.

use cubecl::prelude::*;

/// The sums of `values` over each run of `lanes` neighbouring units, in the first unit of each run
/// at least. All units of the cube call this together.
///
/// `shared` has room for a value of each of the `units`.
#[cube]
pub(crate) fn lane_sum(
    value: f32,
    shared: &mut Shared<[f32]>,
    #[comptime] lanes: u32,
    #[comptime] planes: bool,
) -> f32 {
    if comptime!(planes) {
        plane_sum(value)
    } else {
        let own = UNIT_POS as usize;
        sync_cube();
        shared[own] = value;
        sync_cube();
        let steps = comptime!(lanes.trailing_zeros());
        #[unroll]
        for step in 0..steps {
            let distance = comptime!(lanes >> (step + 1));
            if UNIT_POS % lanes < distance {
                let other = shared[own + distance as usize];
                shared[own] += other;
            }
            sync_cube();
        }
        shared[own]
    }
}

/// The sum over all `units` of the cube, in every unit. All units call this together.
#[cube]
pub(crate) fn cube_sum(
    value: f32,
    shared: &mut Shared<[f32]>,
    #[comptime] units: u32,
    #[comptime] plane: Option<u32>,
) -> f32 {
    match plane {
        Option::Some(size) => {
            let of_plane = plane_sum(value);
            sync_cube();
            if UNIT_POS % size == 0 {
                shared[(UNIT_POS / size) as usize] = of_plane;
            }
            sync_cube();
            let mut sum = 0.0f32;
            #[unroll]
            for index in 0..comptime!((units / size) as usize) {
                sum += shared[index];
            }
            sum
        }
        Option::None => {
            lane_sum(value, shared, units, false);
            shared[0]
        }
    }
}

/// The largest over all `units` of the cube, in every unit. All units call this together.
#[cube]
pub(crate) fn cube_max(
    value: f32,
    shared: &mut Shared<[f32]>,
    #[comptime] units: u32,
    #[comptime] plane: Option<u32>,
) -> f32 {
    match plane {
        Option::Some(size) => {
            let of_plane = plane_max(value);
            sync_cube();
            if UNIT_POS % size == 0 {
                shared[(UNIT_POS / size) as usize] = of_plane;
            }
            sync_cube();
            let mut largest = shared[0];
            #[unroll]
            for index in 1..comptime!((units / size) as usize) {
                largest = max(largest, shared[index]);
            }
            largest
        }
        Option::None => {
            let own = UNIT_POS as usize;
            sync_cube();
            shared[own] = value;
            sync_cube();
            let steps = comptime!(units.trailing_zeros());
            #[unroll]
            for step in 0..steps {
                let distance = comptime!(units >> (step + 1));
                if UNIT_POS < distance {
                    let other = shared[own + distance as usize];
                    shared[own] = max(shared[own], other);
                }
                sync_cube();
            }
            shared[0]
        }
    }
}
