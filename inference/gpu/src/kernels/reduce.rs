//! Values of several units brought together: by plane operations, or through shared memory where
//! the device has none.

use cubecl::prelude::*;

use super::reading::CLASSES;

/// Each of `count` values' sum over each run of `lanes` neighbouring units, in the first unit of each
/// run at least: by halves over eights of lanes ([`CLASSES`]), and the eights one after the other. All
/// `units` of the cube call this together.
///
/// `shared` has room for `count` values of each unit, where there are no planes.
#[cube]
pub(crate) fn ordered_sums(
    values: &mut Array<f32>,
    shared: &mut Shared<[f32]>,
    #[comptime] count: usize,
    #[comptime] units: u32,
    #[comptime] lanes: u32,
    #[comptime] planes: bool,
) {
    if comptime!(planes) {
        #[unroll]
        for index in 0..count {
            let mut of_eight = values[index];
            of_eight += plane_shuffle_xor(of_eight, 4u32);
            of_eight += plane_shuffle_xor(of_eight, 2u32);
            of_eight += plane_shuffle_xor(of_eight, 1u32);
            let mut sum = 0.0f32;
            #[unroll]
            for eight in 0..comptime!(lanes / CLASSES) {
                sum += plane_shuffle(of_eight, comptime!(eight * CLASSES).runtime());
            }
            values[index] = sum;
        }
    } else {
        let own = UNIT_POS as usize;
        halved(values, shared, count, units, CLASSES);
        let first = own - own % comptime!(lanes as usize);
        #[unroll]
        for index in 0..count {
            let mut sum = 0.0f32;
            #[unroll]
            for eight in 0..comptime!((lanes / CLASSES) as usize) {
                sum += shared[first + comptime!(index * units as usize + eight * CLASSES as usize)];
            }
            values[index] = sum;
        }
    }
}

/// Each of `count` values' sum over each run of `lanes` units, in the run's first place of `shared`.
#[cube]
fn halved(
    values: &mut Array<f32>,
    shared: &mut Shared<[f32]>,
    #[comptime] count: usize,
    #[comptime] units: u32,
    #[comptime] lanes: u32,
) {
    let own = UNIT_POS as usize;
    // All values in one pass: a barrier costs more than an addition.
    #[unroll]
    for index in 0..count {
        shared[own + comptime!(index * units as usize)] = values[index];
    }
    sync_cube();
    let mut distance = comptime!(lanes / 2).runtime();
    while distance > 0 {
        if UNIT_POS % lanes < distance {
            #[unroll]
            for index in 0..count {
                let at = own + comptime!(index * units as usize);
                let other = shared[at + distance as usize];
                shared[at] += other;
            }
        }
        sync_cube();
        distance /= 2;
    }
}

/// The sum over all `units` of the cube, in every unit. All units call this together, once.
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
            let mut values = Array::<f32>::new(1usize);
            values[0] = value;
            halved(&mut values, shared, 1usize, units, units);
            shared[0]
        }
    }
}

/// Each of `count` values' largest over all `units` of the cube, in every unit. All units call this
/// together, and meet at a barrier before they call it again.
///
/// `shared` has room for `count` values of each unit.
#[cube]
pub(crate) fn cube_maximums(
    values: &mut Array<f32>,
    shared: &mut Shared<[f32]>,
    #[comptime] count: usize,
    #[comptime] units: u32,
    #[comptime] plane: Option<u32>,
) {
    match plane {
        Option::Some(size) => {
            let planes = comptime!((units / size) as usize);
            #[unroll]
            for index in 0..count {
                let of_plane = plane_max(values[index]);
                if UNIT_POS % size == 0 {
                    shared[(UNIT_POS / size) as usize + comptime!(index * planes)] = of_plane;
                }
            }
            sync_cube();
            #[unroll]
            for index in 0..count {
                let mut largest = shared[comptime!(index * planes)];
                #[unroll]
                for other in 1..planes {
                    largest = max(largest, shared[comptime!(index * planes + other)]);
                }
                values[index] = largest;
            }
        }
        Option::None => {
            let own = UNIT_POS as usize;
            #[unroll]
            for index in 0..count {
                shared[own + comptime!(index * units as usize)] = values[index];
            }
            sync_cube();
            let mut distance = comptime!(units / 2).runtime();
            while distance > 0 {
                if UNIT_POS < distance {
                    #[unroll]
                    for index in 0..count {
                        let at = own + comptime!(index * units as usize);
                        shared[at] = max(shared[at], shared[at + distance as usize]);
                    }
                }
                sync_cube();
                distance /= 2;
            }
            #[unroll]
            for index in 0..count {
                values[index] = shared[comptime!(index * units as usize)];
            }
        }
    }
}
